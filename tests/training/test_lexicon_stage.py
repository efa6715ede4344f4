"""The lexicon of a small WordNet, with a text teacher that knows nothing."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from samclip_sdk.modeling.bert_text_encoder import BertTextEncoder
from samclip_sdk.modeling.checkpoint import read_provenance
from tests.tiny_config import PYRAMID_STUDENT, TINY_BERT
from tests.training.photograph_files import annotation, rectangle, sample_image, write_set
from tests.training.text.random_sentences import RandomSentences
from tests.training.text.things import write_things
from tests.training.text.wordnet_files import Nouns
from training import words
from training.data_config import Photographs
from training.loop.train import build_fabric
from training.stage import Stage
from training.stages import lexicon
from training.stages.lexicon import LexiconConfig
from training.teachers import text_teacher
from training.teachers.lexicon_file import LEXICON_FILE, LexiconWord, read_lexicon, read_names
from training.teachers.text_encoder_file import make_tokenizer, save_text_encoder
from training.teachers.text_teacher import ClassifierSpace, TextTeacher, save_text_teacher
from training.text.class_names import imagenet_lemmas, imagenet_synsets
from training.text.common_nouns import common_nouns

WIDTH = 48


def _classes() -> Nouns:
    """ImageNet's classes, which are all artifacts here."""
    every = zip(imagenet_synsets(), imagenet_lemmas(), strict=True)
    return {
        offset: (6, tuple(name.replace(" ", "_") for name in lemmas), (5,), "")
        for offset, lemmas in every
    }


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A lexicon, made."""
    torch.manual_seed(0)
    space = ClassifierSpace.of(torch.randn(1000, WIDTH), embed_dim=WIDTH)
    folder = tmp_path / "runs" / "mobile"
    save_text_teacher(TextTeacher(space, hidden_dim=8), folder / "text_teacher", provenance={})
    monkeypatch.setattr(text_teacher, "SentenceEncoder", RandomSentences)
    counted = partial(common_nouns, pieces=lambda name: [len(name)])
    monkeypatch.setattr(lexicon, "common_nouns", counted)
    monkeypatch.setattr(words, "common_nouns", counted)
    write_set(
        tmp_path / "sets" / "street",
        [(sample_image(), [annotation(each, rectangle(1, 1, 90, 90)) for each in (1, 2, 3)], {})]
        * 2,
        categories=["person", "truck", "wooden table"],
    )
    settings = LexiconConfig(
        task="lexicon",
        wordnet=write_things(tmp_path / "wordnet", _classes()),
        photographs=Photographs(source="photographs", root=tmp_path / "sets"),
        count=5000,
        words=("sofa",),
        steps=5,
    )
    fabric = build_fabric("fp32", accelerator="cpu")
    return settings.run(Stage(folder / "lexicon", folder, PYRAMID_STUDENT, fabric))


def test_what_words_are(run: Path) -> None:
    found = read_lexicon(run)
    assert found["person"] == LexiconWord("taught", ("person",), taught=True)
    assert found["pug"] == LexiconWord("taught", ("pug",), taught=True)
    assert found["sofa"] == LexiconWord("taught", ("sofa",))
    assert found["man"] == LexiconWord("kind", ("person",))
    assert found["men"] == LexiconWord("kind", ("person",), plural_of="man")
    assert found["couch"] == LexiconWord("synonym", ("sofa",))
    assert found["trucks"] == LexiconWord("taught", ("truck",), taught=True, plural_of="truck")
    assert {lemmas[0] for lemmas in imagenet_lemmas()} <= {*found}


def test_what_embeddings_words_have(run: Path) -> None:
    names = read_names(run)
    assert {*names} == {*read_lexicon(run)}
    every = torch.stack([*names.values()])
    torch.testing.assert_close(every.norm(dim=1), torch.ones(len(every)))
    torch.testing.assert_close(names["couch"], names["sofa"])
    assert torch.equal(names["trucks"], names["truck"])
    assert names["man"] @ names["person"] > 0.8
    provenance = read_provenance(run)
    assert provenance["words"] == len(names)
    assert provenance["settings"]["count"] == 5000


def test_the_command_measures_them(run: Path, tmp_path: Path) -> None:
    """Those of the lexicon, and those of a trained text encoder."""
    arguments = ["--runs", str(run.parents[1]), "--count", "40"]
    arguments += ["--wordnet", str(run.parents[2] / "wordnet")]
    told = CliRunner().invoke(words.app, arguments)
    assert told.exit_code == 0, told.output
    assert "40 nouns:" in told.output
    assert "of the others it is 100.0%" in told.output
    encoder = tmp_path / "encoder"
    make_tokenizer(encoder, TINY_BERT, texts=())
    trained = BertTextEncoder(TINY_BERT, embed_dim=WIDTH)
    save_text_encoder(trained, encoder, config=TINY_BERT, provenance={})
    told = CliRunner().invoke(words.app, [*arguments, "--encoder", str(encoder)])
    assert "40 nouns:" in told.output
    assert "of the others it is 100.0%" not in told.output, "it was taught nothing"
    missing = CliRunner().invoke(words.app, [*arguments, "--encoder", "nowhere"])
    assert "nowhere is no text encoder" in missing.output


@pytest.mark.parametrize("content", [None, "[]", '{"dog": {"of": []}}', "{"])
def test_the_command_tells_what_is_missing(tmp_path: Path, content: str | None) -> None:
    wordnet = write_things(tmp_path / "wordnet")
    if content is not None:
        (tmp_path / "mobile" / "lexicon").mkdir(parents=True)
        (tmp_path / "mobile" / "lexicon" / LEXICON_FILE).write_text(content, encoding="utf-8")
    told = CliRunner().invoke(words.app, ["--runs", str(tmp_path), "--wordnet", str(wordnet)])
    assert told.exit_code == 1
    assert "run the stage lexicon first" in told.output
