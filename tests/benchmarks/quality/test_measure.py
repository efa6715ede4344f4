"""The whole run on a handful of cut-outs, with a model that sees through the pictures' colours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from benchmarks.__main__ import app
from benchmarks.quality.drawings import Drawings, load_drawings, without_copies
from benchmarks.quality.measure import measure_quality
from benchmarks.quality.record import HELDOUT, UNSEEN, Figures, Quality, Settings
from training.composed.corpus import CORPUS, Corpus, load_corpus
from training.composed.vocabulary import tiny_vocabulary, unseen_nouns

COLOURS = {"red": (220, 0, 0), "green": (0, 220, 0), "blue": (0, 0, 220)}
SETTINGS = Settings(nouns=2, pictures=6, scenes=5, size_px=64, seed=1)


def corpus_of(*labels: int) -> Corpus:
    colours = list(COLOURS.values())
    square = np.ones((32, 32, 1), np.uint8)
    return Corpus(
        cutouts=tuple(square * np.array([*colours[k], 255], np.uint8) for k in labels),
        labels=np.array(labels),
        nouns=tuple(COLOURS),
        backgrounds=(),
        shown=(),
    )


class FakeSamClip:
    """Boxes are masks, points the whole picture; a text finds what is its colour.

    Text-to-mask with both heads finds what is there; the CLIP head alone says that everything is
    everywhere.
    """

    def __init__(self) -> None:
        self.encoded = 0

    def encode_image(self, source: np.ndarray) -> np.ndarray:
        self.encoded += 1
        return source

    def embed_text(self, texts: Sequence[str]) -> np.ndarray:
        return np.stack([_unit(np.array(COLOURS[text], np.float32)) for text in texts])

    def classify(self, image: np.ndarray, labels: Sequence[str]) -> Any:
        pixels = image.reshape(-1, 3).astype(np.float32)
        middle = np.median(pixels, axis=0)
        return SimpleNamespace(logits=self.embed_text(labels) @ _unit(middle))

    def segment(
        self,
        image: np.ndarray,
        *,
        multimask_output: bool,
        boxes: np.ndarray | None = None,
        points: np.ndarray | None = None,
    ) -> Any:
        prompts = boxes if boxes is not None else points
        assert prompts is not None
        masks = np.zeros((len(prompts), *image.shape[:2]), bool)
        for mask, prompt in zip(masks, prompts, strict=True):
            if boxes is None:
                mask[:] = True
            else:
                x0, y0, x1, y1 = prompt.astype(int)
                mask[y0:y1, x0:x1] = True
        answers = 3 if multimask_output else 1
        return SimpleNamespace(
            masks=np.repeat(masks, answers, axis=0),
            scores=np.ones(len(masks) * answers),
            prompt_index=np.repeat(np.arange(len(masks)), answers),
        )

    def segment_text(self, image: np.ndarray, labels: Sequence[str], *, refine: bool) -> Any:
        if not refine:
            return SimpleNamespace(mask=lambda label: np.ones(image.shape[:2], bool))
        channel = {name: COLOURS[name].index(220) for name in COLOURS}
        strongest = image.argmax(axis=-1)
        vivid = image.max(axis=-1).astype(int) - image.min(axis=-1) > 60
        masks = [vivid & (strongest == channel[label]) for label in labels]
        kept = [mask if mask.sum() > 150 else mask & False for mask in masks]
        return SimpleNamespace(mask=dict(zip(labels, kept, strict=True)).__getitem__)


def _unit(x: np.ndarray) -> np.ndarray:
    return x / (np.linalg.norm(x) + 1e-6)


@pytest.fixture(scope="module")
def measured() -> tuple[Figures, FakeSamClip]:
    model = FakeSamClip()
    heldout = Drawings(HELDOUT, corpus_of(0, 1), 2, SETTINGS)
    figures = measure_quality(
        model,
        splits=[heldout, Drawings(UNSEEN, corpus_of(2), 2, SETTINGS)],
        cutouts=heldout.clean(),
        teachers=None,
    )
    return figures, model


def test_every_figure_is_there(measured: tuple[Figures, FakeSamClip]) -> None:
    figures, model = measured
    assert [(row.who, row.split, row.picture, row.labels) for row in figures.top_k] == [
        ("model", HELDOUT, "clean", 3),
        ("model", HELDOUT, "composed", 3),
        ("floor", HELDOUT, "clean", 3),
        ("floor", HELDOUT, "composed", 3),
        ("model", UNSEEN, "clean", 1),
        ("model", UNSEEN, "clean", 3),
        ("model", UNSEEN, "composed", 1),
        ("model", UNSEEN, "composed", 3),
    ]
    assert all(row.top1 == 1 for row in figures.top_k if row.picture == "clean")
    assert [(row.who, row.split) for row in figures.prompts] == [
        ("model", HELDOUT),
        ("model", UNSEEN),
    ]
    assert [(row.heads, row.scenes) for row in figures.text_to_mask] == [
        ("clip_head", 5),
        ("both_heads", 5),
    ] * 2
    assert model.encoded == 2 * SETTINGS.scenes  # one backbone pass a scene


def test_the_figures_tell_good_from_bad(measured: tuple[Figures, FakeSamClip]) -> None:
    figures, _ = measured
    everywhere, by_colour = figures.text_to_mask[:2]
    assert everywhere.false_positive_rate == everywhere.recall == 1
    assert everywhere.miou < by_colour.miou
    assert all(row.box > row.point for row in figures.prompts)


def test_a_run_can_be_repeated(measured: tuple[Figures, FakeSamClip]) -> None:
    first, second = (Drawings(HELDOUT, corpus_of(0, 1), 2, SETTINGS) for _ in range(2))
    for one, other in zip(first.composed(), second.composed(), strict=True):
        np.testing.assert_array_equal(one.image, other.image)
    for (one, a), (other, b) in zip(first.scenes(), second.scenes(), strict=True):
        np.testing.assert_array_equal(one.image, other.image)
        assert a.random() == b.random()
    # More scenes leave the first ones as they are.
    more = Drawings(HELDOUT, corpus_of(0, 1), 2, SETTINGS.model_copy(update={"scenes": 9}))
    np.testing.assert_array_equal(
        next(iter(more.scenes()))[0].image, next(iter(first.scenes()))[0].image
    )


def test_nothing_is_measured_on_training_drawings() -> None:
    settings = Settings(nouns=40, pictures=1, scenes=1, size_px=48)
    (heldout, unseen), train = load_drawings(settings, openmoji=None)
    cutouts = train.clean()
    taught = tuple(noun.name for noun in tiny_vocabulary(40))
    assert heldout.nouns == taught
    assert unseen.nouns == (*taught, *(noun.name for noun in unseen_nouns()))
    assert unseen.taught == 40
    assert unseen.corpus.labels.min() >= 40
    trained = {each.image.tobytes() for each in cutouts}
    for drawings in (heldout, unseen):
        assert not trained & {each.image.tobytes() for each in drawings.clean()}
        assert len(drawings.corpus.backgrounds) == 5
    # The corpus has such copies, which is why they are left out.
    raw = load_corpus(CORPUS, split=HELDOUT, nouns=taught)
    copies = trained & {
        each.image.tobytes() for each in Drawings(HELDOUT, raw, 40, settings).clean()
    }
    assert 1 <= len(copies) <= len(raw.labels) - len(heldout.corpus.labels) <= 5


def test_copies_are_left_out() -> None:
    corpus, train = corpus_of(0, 1, 2, 1), corpus_of(1)
    brighter = train.cutouts[0].copy()
    brighter[16, 16] += 1  # as another encoder would leave it
    kept = without_copies(corpus, of=replace(train, cutouts=(brighter,)))
    assert kept.labels.tolist() == [0, 2]
    assert len(kept.cutouts) == 2


def test_a_bundle_is_measured_from_the_command_line(tiny_bundle: Path, tmp_path: Path) -> None:
    """The real client, so that what the fake promises is true; the figures mean nothing."""
    output = tmp_path / "quality.json"
    arguments = ["quality", "--model", str(tiny_bundle), "--output", str(output)]
    few = ["--nouns", "12", "--pictures", "2", "--scenes", "1"]
    done = CliRunner().invoke(app, [*arguments, *few], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    quality = Quality.model_validate_json(output.read_bytes())
    assert quality.model.random_weights
    assert len(quality.top_k) == 8
    assert len(quality.text_to_mask) == 4
    assert "mIoU, box prompt" in done.output


def test_a_model_that_is_not_there(tmp_path: Path) -> None:
    output = tmp_path / "quality.json"
    arguments = ["quality", "--model", str(tmp_path / "none"), "--output", str(output)]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 1
    assert done.output.startswith("error: ")
    assert len(done.output.splitlines()) == 1
    assert not output.exists()
