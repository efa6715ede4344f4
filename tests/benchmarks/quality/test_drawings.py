"""The whole run on a handful of cut-outs, with a model that sees through the images' colours."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.quality.command import measure_dataset
from benchmarks.quality.drawings import HELDOUT, UNSEEN, Drawings, load_drawings, without_copies
from benchmarks.quality.floor import NearestCutout
from tests.benchmarks.measured import found_by, measure
from tests.benchmarks.public.painted import Painted
from tests.benchmarks.quality.painted_photographs import COLOURS
from tests.drawings import TINY_BUNDLE
from training.composed.corpus import Corpus
from training.composed.scenes import clean_image

NAMES = tuple(COLOURS)[:3]


class SeesHues(Painted):
    """Colours of drawings are blurred and shaded."""

    def _mask(self, image: np.ndarray, label: str) -> np.ndarray:
        vivid = image.max(axis=-1).astype(int) - image.min(axis=-1) > 60
        return vivid & (image.argmax(axis=-1) == np.argmax(COLOURS[label]))


def corpus_of(*labels: int) -> Corpus:
    square = np.ones((32, 32, 1), np.uint8)
    return Corpus(
        cutouts=tuple(square * np.array([*COLOURS[NAMES[k]], 255], np.uint8) for k in labels),
        labels=np.array(labels),
        nouns=NAMES,
        backgrounds=(),
        shown=(),
    )


def drawings(split: str, *labels: int, scenes: int = 5) -> Drawings:
    size = {"images": 6, "scenes": scenes, "size_px": 64, "seed": 1}
    return Drawings(split, corpus_of(*labels), 2, **size, embed_text=Painted().embed_text)


def test_every_figure_is_there() -> None:
    """Nouns never taught are told apart among themselves, and among all."""
    model = SeesHues(presence_threshold=0.001)
    found = measure(measure_dataset, model, drawings(HELDOUT, 0, 1), seed=0)
    for kind, count in (("clean", 2), ("composed", 6)):
        row = found.metrics(f"model: {kind}", HELDOUT)
        assert (row["top1"].n, row["names"].value) == (count, 3)
    assert found.value("model: clean", "top1", HELDOUT) == 1
    assert model.encoded == 5  # one backbone pass a scene
    head, both = (found.metrics(way, HELDOUT) for way in ("clip_head", "both_heads"))
    assert both["miou"].n == 5
    assert head["miou"].value < both["miou"].value
    assert {"false_nearest", "iou_found", "found"} <= set(both)
    prompts = found.metrics("model: prompts", HELDOUT)
    assert prompts["box"].value > prompts["point"].value
    found = measure(measure_dataset, model, drawings(UNSEEN, 2), seed=0)
    assert found.value("model: clean", "names", UNSEEN) == 1
    assert found.value("model: clean among all", "names", UNSEEN) == 3


def test_a_run_can_be_repeated() -> None:
    """More scenes leave the first ones as they are."""
    first, second = drawings(HELDOUT, 0, 1), drawings(HELDOUT, 0, 1, scenes=9)
    for index in first.masked():
        one, other = first.question(index), second.question(index)
        np.testing.assert_array_equal(one.image, other.image)
        assert one.absent == other.absent
    for image in range(8):
        np.testing.assert_array_equal(first.read(image), second.read(image))


def test_nothing_is_measured_on_training_drawings() -> None:
    size = {"nouns": 40, "images": 1, "scenes": 1, "size_px": 48, "seed": 0}
    (heldout, unseen), train = load_drawings(Painted().embed_text, **size)
    assert unseen.corpus.labels.min() >= 40 > heldout.corpus.labels.max()
    trained = {clean_image(train, i, size_px=48).tobytes() for i in range(len(train.labels))}
    for split in (heldout, unseen):
        assert not trained & {split.read(i).tobytes() for i in range(len(split.corpus.labels))}


def test_copies_are_left_out() -> None:
    corpus, train = corpus_of(0, 1, 2, 1), corpus_of(1)
    brighter = train.cutouts[0].copy()
    brighter[16, 16] += 1  # as another encoder would leave it
    kept = without_copies(corpus, of=replace(train, cutouts=(brighter,)))
    assert kept.labels.tolist() == [0, 2]
    assert len(kept.cutouts) == 2


def test_the_floor_finds_the_same_shape_and_colour() -> None:
    """Black shapes of the same size on grey: colour alone says little."""
    across, up = np.full((64, 64, 3), 236, np.uint8), np.full((64, 64, 3), 236, np.uint8)
    across[28:36, 8:56] = 0
    up[8:56, 28:36] = 0
    floor = NearestCutout([across, up], labels=np.array([0, 1]), num_nouns=3)
    scores = floor.scores(across)
    assert (scores.argmax(), scores[2]) == (0, -1)  # the last noun has no cut-out
    assert scores[0] == pytest.approx(1, abs=1e-4)
    scores = floor.scores(np.roll(across, 2, axis=0))
    assert scores[0] > scores[1] + 0.2


@pytest.mark.slow
def test_a_bundle_is_measured_from_the_command_line(tmp_path: Path) -> None:
    """The real client, so that what the fake promises is true."""
    few = ["--images", "2", "--scenes", "1"]
    found = found_by(tmp_path / "quality.jsonl", "quality", "--model", TINY_BUNDLE, *few)
    assert found.run.model.name == TINY_BUNDLE.name
    assert found.splits("floor: clean") == [HELDOUT]
    assert found.splits("both_heads", "miou") == [HELDOUT, UNSEEN]
