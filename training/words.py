"""`python -m training.words`: whether common nouns lie where WordNet has them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import torch
import typer
from torch import Tensor
from torch.nn import functional as F

from samclip_sdk import SamClip
from samclip_sdk.bundle.manifest import TOKENIZER_NAME
from samclip_sdk.cli.terminal import working
from samclip_sdk.modeling.bert_text_encoder import BertTextEncoder
from samclip_sdk.modeling.config import BertTextConfig
from samclip_sdk.text.tokenizer import Tokenizer, label_templates
from samclip_sdk.text.vocabulary import read_vocabulary
from training.errors import TrainingError
from training.real.taught_nouns import taught_words
from training.teachers.lexicon_file import LEXICON, read_lexicon, read_names
from training.teachers.weights import SETTINGS_NAME, WEIGHTS_NAME, load_weights
from training.text.common_nouns import common_nouns
from training.text.nearest_words import NearestWord, measure_nearest
from training.text.relations import Relations
from training.text.wordnet import WORDNET, WordNet

app = typer.Typer(add_completion=False, rich_markup_mode="markdown", pretty_exceptions_enable=False)

_RUNTIME = "onnx"
_BATCH = 64
_FALLS = 0.4  # the cosine from which a noun falls on a taught word
_SHOWN = 40  # nouns that are told


@app.command()
def words(
    config: Annotated[str, typer.Option(help="a config's name: its lexicon's targets")] = "mobile",
    runs: Annotated[Path, typer.Option(help="folder of the runs")] = Path("runs"),
    encoder: Annotated[
        Path | None, typer.Option(help="a trained text encoder's folder, in place of the targets")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="a bundle with nouns of its own, in place of the lexicon")
    ] = None,
    count: Annotated[int, typer.Option(min=1, help="of the commonest nouns")] = 2000,
    wordnet: Annotated[Path, typer.Option(help="WordNet's folder")] = WORDNET,
) -> None:
    """Tells which share of the commonest nouns lie nearest to a taught word that is a relative.

    A relative is the word itself, a synonym, what it is a kind of or what is a kind of it, or what
    shares a parent or a grandparent in WordNet.
    """
    with working("reading WordNet"):
        relations = Relations(WordNet(wordnet))
        nouns = common_nouns(relations.senses, count=count)
        if model is not None:
            found = _of_bundle(model, relations, nouns)
        else:
            found = _of_lexicon(runs / config / LEXICON, relations, nouns, encoder=encoder)
    _tell(found)


def _of_bundle(model: str, relations: Relations, nouns: Sequence[str]) -> list[NearestWord]:
    with SamClip.load(_RUNTIME, model=model) as opened:
        path = opened.source.nouns_path
        if path is None:
            raise TrainingError(f"{model} brings no nouns: export it with nouns.txt")
        pack = read_vocabulary(path, manifest=opened.manifest)
        template = label_templates(opened.manifest.model.text_encoder)[0]
        embeddings = opened.embed_text([template.replace("{}", noun) for noun in nouns])
    known = dict(zip(pack.labels, torch.from_numpy(pack.matrix), strict=True))
    return _measure(relations, nouns, torch.from_numpy(embeddings), known)


def _of_lexicon(
    run: Path, relations: Relations, nouns: Sequence[str], *, encoder: Path | None
) -> list[NearestWord]:
    lexicon = read_lexicon(run)
    targets = read_names(run)
    nouns = [noun for noun in nouns if noun in targets]
    taught = {word.of[0]: None for word in lexicon.values() if word.taught}
    if encoder is None:
        embedded = torch.stack([targets[name] for name in (*nouns, *taught)])
    else:
        embedded = _embed(encoder, [*nouns, *taught])
    known = dict(zip(taught, embedded[len(nouns) :], strict=True))
    return _measure(relations, nouns, embedded[: len(nouns)], known)


def _measure(
    relations: Relations, nouns: Sequence[str], embeddings: Tensor, known: dict[str, Tensor]
) -> list[NearestWord]:
    """Measures nouns among the taught words whose embeddings are known by a name of theirs."""
    every = taught_words(known, relations=relations)
    taught = [word for word in every if word.names[0] in known]
    table = torch.stack([known[word.names[0]] for word in taught])
    return measure_nearest(relations, nouns, embeddings, taught=taught, table=table)


@torch.no_grad()
def _embed(folder: Path, names: Sequence[str]) -> Tensor:
    """Embeddings [N,E] of names by a text encoder that the stage text_encoder left."""
    try:
        content = json.loads((folder / SETTINGS_NAME).read_bytes())
        config = BertTextConfig.model_validate(content["text_encoder"])
        encoder = BertTextEncoder(config, embed_dim=content["embed_dim"])
    except (OSError, ValueError, KeyError) as error:
        raise TrainingError(f"{folder} is no text encoder: {error}") from error
    load_weights(encoder, folder / WEIGHTS_NAME)
    texts = [config.templates[0].replace("{}", name) for name in names]
    tokenizer = Tokenizer(folder / TOKENIZER_NAME, context_length=config.context_length)
    ids = torch.from_numpy(tokenizer(texts))
    parts = [encoder(part) for part in torch.split(ids, _BATCH)]
    return F.normalize(torch.cat(parts), dim=-1)


def _tell(found: Sequence[NearestWord]) -> None:
    kindred = [each for each in found if each.has_relative]
    share, of_kindred = (
        sum(each.right for each in some) / max(len(some), 1) for some in (found, kindred)
    )
    typer.echo(
        f"{len(found)} nouns: {share:.1%} lie nearest to a relative. {len(found) - len(kindred)} "
        f"have none among the taught words; of the others it is {of_kindred:.1%}."
    )
    fallen = [each for each in found if each.cosine >= _FALLS and not each.right]
    typer.echo(f"{len(fallen)} lie beside what they have nothing to do with:")
    for each in fallen[:_SHOWN]:
        typer.echo(f"  {each.noun}: {each.word} {each.cosine:.2f}")


if __name__ == "__main__":
    app()
