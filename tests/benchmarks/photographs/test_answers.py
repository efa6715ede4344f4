"""What labels got, judged by hand."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.photographs.figures import (
    TEXT_ROW,
    Bootstrap,
    curve,
    judge_texts,
    text_to_mask_rows,
)
from benchmarks.photographs.record import ALL
from training.asked_pictures import AskedPicture

EMPTY, WHOLE = np.zeros((2, 4), bool), np.ones((2, 4), bool)
HALF = np.tile([True, True, False, False], (2, 1))
PICTURE = np.zeros((2, 4, 3), np.uint8)


def asked(*truths: np.ndarray, absent: int) -> AskedPicture:
    names = [f"thing {number}" for number in range(len(truths) + absent)]
    return AskedPicture(
        PICTURE,
        present=tuple(names[: len(truths)]),
        masks=np.stack([*truths, EMPTY])[: len(truths)],
        absent=tuple(names[len(truths) :]),
    )


@pytest.fixture
def answers() -> np.ndarray:
    """Two pictures: present IoUs .5 at .9, 1 at .6, 0 at .3, and an empty mask at .8."""
    first = judge_texts(
        0,
        asked(WHOLE, HALF, absent=2),
        masks=[HALF, HALF, WHOLE, EMPTY],
        presence=np.array([0.9, 0.6, 0.7, 0.95]),
    )
    second = judge_texts(
        2,
        asked(HALF, HALF, absent=1),
        masks=[~HALF, EMPTY, WHOLE],
        presence=np.array([0.3, 0.8, 0.2]),
    )
    return np.array([*first, *second], TEXT_ROW)


def test_rows_at_a_threshold(answers: np.ndarray) -> None:
    rows = text_to_mask_rows(
        answers,
        Bootstrap(20, seed=0),
        heads="both_heads",
        threshold=0.5,
        sets=["b", "a", "a"],
    )
    every, a, b = rows
    assert (every.of, a.of, b.of) == (ALL, "a", "b")
    assert (every.pictures, every.present, every.absent) == (2, 4, 3)
    # Of four present labels two are found, of three absent ones one: IoUs .5, 1, 0, 0, and a 0.
    assert every.miou.value == pytest.approx(1.5 / 5)
    assert every.miou_present.value == pytest.approx(1.5 / 4)
    assert every.found.value == 0.5
    assert every.false is not None
    assert every.false.value == pytest.approx(1 / 3, abs=1e-4)
    assert (a.present, a.found.value, b.present, b.found.value) == (2, 0.0, 2, 1.0)
    assert b.miou.value == 0.5


def test_the_curve_goes_over_all_thresholds(answers: np.ndarray) -> None:
    points = list(curve(answers))
    assert [point.threshold for point in points] == sorted(point.threshold for point in points)
    first, last = points[0], points[-1]
    # At the lowest, three of four present labels have a mask, and two of three absent ones.
    assert (first.threshold, first.found, first.false) == (0.2, 0.75, pytest.approx(2 / 3))
    assert (first.miou, first.miou_present) == (1.5 / 6, 1.5 / 4)
    # At the highest, only the empty mask of an absent label is left, which is none.
    assert (last.threshold, last.found, last.false, last.miou) == (0.95, 0.0, 0.0, 0.0)


def test_without_absent_labels_there_is_no_curve() -> None:
    judged = judge_texts(0, asked(WHOLE, absent=0), masks=[WHOLE], presence=np.array([0.9]))
    found = np.array([*judged], TEXT_ROW)
    assert list(curve(found)) == []
    rows = text_to_mask_rows(
        found,
        Bootstrap(5, seed=0),
        heads="clip_head",
        threshold=0.5,
        sets=["a"],
    )
    every, _ = rows
    assert every.false is None
    assert every.miou.value == 1.0
