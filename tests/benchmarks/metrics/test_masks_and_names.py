"""Arithmetic of masks, names and answers, by hand."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from benchmarks.intervals import Bootstrap
from benchmarks.metrics.masks import (
    OBJECT_ROW,
    Confusion,
    innermost_pixel,
    iou,
    judge_objects,
    mean_iou,
    prompt_figures,
)
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


class HalfRight:
    """Boxes: the box itself. Points: the quadrant around the point; three masks, one trusted."""

    def segment(self, embedding: Any, *, multimask_output: bool, **prompt: Any) -> Any:
        if "boxes" in prompt:
            boxes = prompt["boxes"].astype(int)
            masks = [rectangle(y0, x0, y1, x1) for x0, y0, x1, y1 in boxes]
        else:
            corners = [(10 * (x // 10), 10 * (y // 10)) for x, y in prompt["points"][:, 0]]
            masks = [rectangle(int(y), int(x), int(y) + 10, int(x) + 10) for x, y in corners]
        answers = 3 if multimask_output else 1
        given = [mask if k == answers - 1 else ~mask for mask in masks for k in range(answers)]
        return SimpleNamespace(
            masks=np.stack(given),
            scores=np.tile(np.arange(answers), len(masks)),
            prompt_index=np.repeat(np.arange(len(masks)), answers),
        )


def test_prompts_by_hand() -> None:
    """A whole quadrant, half of one, and a triangle in its box; two of them in a group."""
    triangle = np.tril(np.ones((20, 20), bool), -10) & rectangle(10, 0, 20, 10)
    masks = np.stack([rectangle(0, 0, 10, 10), rectangle(0, 10, 10, 15), triangle])
    model: Any = HalfRight()
    table = np.array([*judge_objects(0, model, model, masks)], OBJECT_ROW)
    assert table["share"].tolist() == [0.25, 0.125, 0.1375]
    found = prompt_figures(table, FEW)
    grouped = prompt_figures(table, FEW, groups=np.array([0, 1, 1]))
    for best in ("", "_best"):
        box, point = found[f"box{best}"], found[f"point{best}"]
        assert box is not None
        assert point is not None
        assert box.value == pytest.approx((1 + 1 + 0.55) / 3, abs=1e-4)
        assert point.value == pytest.approx((1 + 0.5 + 0.55) / 3, abs=1e-4)
    assert grouped["point"] is not None
    assert grouped["point"].value == pytest.approx((1 + (0.5 + 0.55) / 2) / 2, abs=1e-4)


def test_confusion_by_hand() -> None:
    """Of class 0 two of three pixels are right, of 1 the one; 2 was neither there nor answered."""
    confusion = Confusion(3)
    confusion.add(np.array([[0, 0, 1, 1]]), truth=np.array([[0, 0, 0, 1]]))
    confusion.add(np.array([[1]]), truth=np.array([[-1]]))  # not judged
    assert confusion.ious() == [pytest.approx(2 / 3), 0.5, None]
    assert mean_iou(confusion.ious()) == pytest.approx((2 / 3 + 0.5) / 2)
    assert confusion.share_answered(1) == 0.5


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
