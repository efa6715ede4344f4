from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from benchmarks.quality.scores import PromptTally, best_ious, innermost_pixel, iou
from training.composed.scenes import Scene


def rectangle(top: int, left: int, bottom: int, right: int, *, side: int = 20) -> np.ndarray:
    mask = np.zeros((side, side), bool)
    mask[top:bottom, left:right] = True
    return mask


def scene_of(*masks: np.ndarray, labels: list[int], unlabelled: tuple[int, ...] = ()) -> Scene:
    boxes = []
    for mask in masks:
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        boxes.append([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
    return Scene(
        image=np.zeros((*masks[0].shape, 3), np.uint8),
        masks=np.stack(masks),
        labels=np.array(labels),
        boxes=np.array(boxes, np.float32),
        unlabelled=np.array(unlabelled, np.int64),
    )


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


def test_the_mask_that_the_model_trusts_is_the_one_that_counts() -> None:
    truth = np.stack([rectangle(0, 0, 10, 10), rectangle(10, 10, 20, 20)])
    result = SimpleNamespace(
        masks=np.stack([truth[0], truth[1], truth[0], truth[1] & rectangle(10, 10, 15, 20)]),
        scores=np.array([0.2, 0.9, 0.1, 0.3]),
        prompt_index=np.array([0, 0, 1, 1]),
    )
    assert best_ious(result, truth=truth) == [0, 0.5]


class HalfRight:
    """Boxes: the box itself. Points: the quadrant around the point; three masks, one trusted."""

    def segment(self, embedding: Any, *, multimask_output: bool, **prompt: Any) -> Any:
        assert embedding == "embedding"
        if "boxes" in prompt:
            boxes = prompt["boxes"].astype(int)
            masks = [rectangle(y0, x0, y1, x1) for x0, y0, x1, y1 in boxes]
        else:
            assert prompt["points"].shape[1:] == (1, 2)
            masks = [
                rectangle(10 * (y // 10), 10 * (x // 10), 10 * (y // 10) + 10, 10 * (x // 10) + 10)
                for x, y in prompt["points"][:, 0].astype(int)
            ]
        answers = 3 if multimask_output else 1
        return SimpleNamespace(
            masks=np.stack([mask if k == answers - 1 else ~mask for mask in masks
                            for k in range(answers)]),
            scores=np.tile(np.arange(answers), len(masks)),
            prompt_index=np.repeat(np.arange(len(masks)), answers),
        )  # fmt: skip

    def encode_image(self, source: Any) -> Any:
        raise AssertionError("the caller encodes, once for every skill")


def test_tally_by_hand() -> None:
    """A whole quadrant, half of one, and a triangle in its box."""
    triangle = np.tril(np.ones((20, 20), bool), -10) & rectangle(10, 0, 20, 10)
    scene = scene_of(rectangle(0, 0, 10, 10), rectangle(0, 10, 10, 15), triangle, labels=[0, 0, 1])
    tally = PromptTally()
    tally.add(HalfRight(), "embedding", masks=scene.masks)
    row = tally.row(who="model", split="heldout_instance")
    assert row.objects == 3
    assert row.box == row.box_best == pytest.approx((1 + 1 + 0.55) / 3)
    assert row.point == row.point_best == pytest.approx((1 + 0.5 + 0.55) / 3)
