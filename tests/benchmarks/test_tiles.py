"""Large pictures of small ones, and what is counted of the answers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from benchmarks.suite import Measuring
from benchmarks.tiles import LargePicture, ask, compose, summarize
from samclip_sdk.results.text_masks import AskedLabels, TextMasks
from tests.benchmarks.measured import measure, shown

DOG = np.zeros((20, 40), bool)
DOG[5:15, 10:30] = True


def test_photographs_lie_side_by_side() -> None:
    wide = np.full((20, 40, 3), 9, np.uint8)
    cells: Any = [(wide, [("dog", DOG)]), (wide, []), (wide, []), (wide, [("dog", DOG)])]
    large = compose(cells, absent=["cat"], cell_px=80)
    assert large.image.shape == (160, 160, 3)
    assert (large.image[:40, :80] == 9).all()
    assert not (large.image[40:80] == 9).any()  # paper below a picture that is not as high
    (first, second) = (mask for _, mask in large.objects)
    assert first[12:28, 22:58].all()
    assert second[92:108, 102:138].all()
    assert not (first & second).any()
    np.testing.assert_array_equal(large.labels["dog"], first | second)
    assert large.absent == ["cat"]


class FindsDogs:
    """Finds the first dog, as a label and as an object; in tiles both, and a cat too."""

    def __init__(self, large: LargePicture) -> None:
        self.objects = [mask for _, mask in large.objects]

    def segment_text(
        self, image: np.ndarray, labels: list[str], *, tiles: Any = None, **asked: Any
    ) -> Any:
        found = self.objects if tiles else self.objects[:1]
        present = np.array([0, 1] if tiles else [0])
        masks = np.stack([np.any(found, axis=0), np.ones(image.shape[:2], bool)])[: len(present)]
        return TextMasks(
            labels=[labels[place] for place in present],
            presence=np.ones(len(present)),
            scores=np.ones(len(present)),
            masks=masks,  # type: ignore[arg-type]
            points=[np.zeros((0, 2))] * len(present),
            label_index=present,
            asked=AskedLabels(labels, np.ones(2), np.zeros((2, 4, 4))),
            class_map=np.zeros(image.shape[:2], np.int16),
        )

    def segment_instances(
        self, image: np.ndarray, labels: list[str], *, tiles: Any = None, **asked: Any
    ) -> Any:
        found = self.objects if tiles else self.objects[:1]
        rows = ["dog"] * len(found) + ["cat"] * bool(tiles)
        masks = [*found, np.ones(image.shape[:2], bool)][: len(rows)]
        return _Rows(rows, masks)


class _Rows(SimpleNamespace):
    def __init__(self, labels: list[str], masks: list[np.ndarray]) -> None:
        super().__init__(labels=labels, masks=masks)

    def __len__(self) -> int:
        return len(self.labels)


def test_what_is_counted() -> None:
    pixels = np.zeros((20, 40, 3), np.uint8)
    cells: Any = [(pixels, [("dog", DOG)])] * 2 + [(pixels, [])] * 2
    large = compose(cells, absent=["cat"], cell_px=80)
    model: Any = FindsDogs(large)

    def work(measured: Measuring) -> None:
        for tiles in (None, (2, 2)):
            summarize(measured, tiles, [ask(model, large, tiles)] * 2)

    part = measure(work, suite="tiles")
    whole, tiled = part.metrics("whole"), part.metrics("2, 2")
    assert (whole["found"].value, whole["found"].n, whole["miou"].value) == (1, 2, 0.5)
    assert (whole["false"].value, whole["false"].n) == (0, 2)
    assert (whole["objects_found"].value, whole["objects_found"].n) == (0.5, 4)
    assert tiled["false"].value == tiled["objects_found"].value == tiled["miou"].value == 1
    assert (whole["rows"].value, tiled["rows"].value) == (2, 6)
    row = "| whole | 100.0% of 2 | 0.500 | 0.0% of 2 | 50.0% of 4 | 2 |"
    assert row in shown("tiles", part)
