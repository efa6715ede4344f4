"""Arithmetic of masks, names and answers, by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from benchmarks.intervals import Bootstrap
from benchmarks.metrics.masks import innermost_pixel, iou
from benchmarks.metrics.names import rank_of_truth
from benchmarks.metrics.texts import TEXT_ROW, curve, judge_texts, text_figures
from training.asked_pictures import AskedPicture

FEW = Bootstrap(20)


def rectangle(top: int, left: int, bottom: int, right: int, *, side: int = 20) -> np.ndarray:
    mask = np.zeros((side, side), bool)
    mask[top:bottom, left:right] = True
    return mask


def test_iou() -> None:
    left, right = rectangle(0, 0, 10, 10), rectangle(0, 5, 10, 15)
    assert iou(left, left) == 1
    assert iou(left, right) == pytest.approx(50 / 150)
    assert iou(left, rectangle(12, 0, 15, 3)) == 0
    assert iou(left & False, left & False) == 0


def test_innermost_pixel() -> None:
    assert innermost_pixel(rectangle(4, 6, 9, 17)) == (8, 6)  # depth 3, the first of a row of them
    # At the picture's border, which counts as outside, and not in the hole.
    ring = rectangle(0, 0, 9, 20) & ~rectangle(2, 2, 7, 10)
    x, y = innermost_pixel(ring)
    assert y == 4
    assert 13 <= x <= 15


def test_a_tie_counts_against_the_model() -> None:
    scores = np.array([0.5, 0.9, 0.5, 0.7])
    assert rank_of_truth(scores, right=[0]) == 3
    assert rank_of_truth(scores, right=[1]) == 0
    assert rank_of_truth(scores, right=[0, 3]) == 1
    assert rank_of_truth(scores, right=[0], passed_over=[1, 2]) == 1
    assert rank_of_truth(np.full(4, 0.3), right=[0]) == 3


EMPTY, WHOLE = np.zeros((2, 4), bool), np.ones((2, 4), bool)
HALF = np.tile([True, True, False, False], (2, 1))


def asked(*truths: np.ndarray, absent: int) -> AskedPicture:
    names = [f"thing {number}" for number in range(len(truths) + absent)]
    return AskedPicture(
        np.zeros((2, 4, 3), np.uint8),
        present=tuple(names[: len(truths)]),
        masks=np.stack([*truths, EMPTY])[: len(truths)],
        absent=tuple(names[len(truths) :]),
    )


def rows(
    owner: int, question: AskedPicture, masks: Sequence[np.ndarray], *presence: float
) -> list[tuple[object, ...]]:
    return [*judge_texts(owner, question, masks=masks, presence=np.array(presence))]


@pytest.fixture
def answers() -> np.ndarray:
    """Two pictures: present IoUs .5 at .9, 1 at .6, 0 at .3, and an empty mask at .8."""
    first = asked(WHOLE, HALF, absent=2)
    second = asked(HALF, HALF, absent=1)
    found = rows(0, first, [HALF, HALF, WHOLE, EMPTY], 0.9, 0.6, 0.7, 0.95)
    return np.array([*found, *rows(2, second, [~HALF, EMPTY, WHOLE], 0.3, 0.8, 0.2)], TEXT_ROW)


def test_texts_at_a_threshold(answers: np.ndarray) -> None:
    """Of four present labels two are found, of three absent ones one: IoUs .5, 1, 0, 0, and a 0.

    Of the two nearest absent labels one has a mask at its presence.
    """
    found: Any = text_figures(answers, FEW, threshold=0.5)
    assert (found["present"], found["absent"]) == (4, 3)
    expected = {
        "miou": 1.5 / 5,
        "miou_present": 1.5 / 4,
        "ungated": 1.5 / 4,
        "iou_found": 0.75,
        "found": 0.5,
        "false": 1 / 3,
        "false_nearest": 0.5,
        "il_mcc": (2 * 2 - 1 * 2) / (3 * 4 * 3 * 4) ** 0.5,
    }
    for name, value in expected.items():
        assert found[name].value == pytest.approx(value, abs=1e-4), name


def test_the_curve_goes_over_all_thresholds(answers: np.ndarray) -> None:
    """At the lowest, three of four present labels have a mask, and two of three absent ones.

    At the highest, only the empty mask of an absent label is left, which is none.
    """
    points = [*curve(answers)]
    thresholds = [threshold for threshold, _ in points]
    assert thresholds == sorted(set(thresholds))
    (low, first), (high, last) = points[0], points[-1]
    assert (low, high) == (0.2, 0.95)
    assert (first["found"], first["false"]) == (0.75, pytest.approx(2 / 3))
    assert (first["miou"], first["miou_present"]) == (1.5 / 6, 1.5 / 4)
    assert last == {"found": 0, "false": 0, "miou": 0, "miou_present": 0}


def test_without_absent_labels_there_is_no_curve() -> None:
    found = np.array(rows(0, asked(WHOLE, absent=0), [WHOLE], 0.9), TEXT_ROW)
    assert [*curve(found)] == []
    figures: Any = text_figures(found, FEW, threshold=0.5)
    assert (figures["false"], figures["miou"].value) == (None, 1.0)
