from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from training.composed.prompts import MAX_POINTS, noisy_box, sample_prompts
from training.composed.scenes import Scene

SIZE = 64
seeds = st.integers(0, 2**32 - 1)


@st.composite
def scenes(draw: st.DrawFn) -> Scene:
    """One to three rectangles side by side, the smallest of one pixel."""
    count = draw(st.integers(1, 3))
    masks = np.zeros((count, SIZE, SIZE), bool)
    boxes = np.zeros((count, 4), np.float32)
    for index in range(count):
        left = draw(st.integers(index * 21, index * 21 + 20))
        right = draw(st.integers(left + 1, index * 21 + 21))
        top = draw(st.integers(0, SIZE - 1))
        bottom = draw(st.integers(top + 1, SIZE))
        masks[index, top:bottom, left:right] = True
        boxes[index] = left, top, right, bottom
    return Scene(
        image=np.zeros((SIZE, SIZE, 3), np.uint8),
        masks=masks,
        labels=np.arange(count),
        boxes=boxes,
        unlabelled=np.empty(0, np.int64),
    )


@given(scenes(), seeds)
def test_points_lie_in_the_object_and_labels_are_laid_out(scene: Scene, seed: int) -> None:
    prompts = sample_prompts(scene, np.random.default_rng(seed), count=6)
    assert prompts.coords.shape == (6, MAX_POINTS, 2)
    for coords, labels, target, box in zip(
        prompts.coords, prompts.labels, prompts.targets, prompts.boxes, strict=True
    ):
        index = int(np.flatnonzero((scene.boxes == box).all(axis=1))[0])
        x, y = coords[labels == 1].astype(int).T
        assert scene.masks[index, y, x].all()
        # Points, then either a box's two corners or one padding token, then filler.
        points = int((labels == 1).sum())
        with_box = bool((labels == 2).any())
        tail = [2, 3] if with_box else [-1]
        filler = MAX_POINTS - points - len(tail)
        assert labels.tolist() == [1] * points + tail + [-2] * filler
        assert points <= 1 if with_box else 1 <= points <= 3
        assert not coords[labels == -2].any()
        cells = scene.masks[index].reshape(SIZE // 4, 4, SIZE // 4, 4).mean(axis=(1, 3))
        np.testing.assert_array_equal(target, cells.astype(np.float16))


def test_every_kind_of_prompt_is_drawn() -> None:
    masks = np.ones((1, SIZE, SIZE), bool)
    scene = Scene(
        image=np.zeros((SIZE, SIZE, 3), np.uint8),
        masks=masks,
        labels=np.zeros(1, np.int64),
        boxes=np.array([[0, 0, SIZE, SIZE]], np.float32),
        unlabelled=np.empty(0, np.int64),
    )
    labels = sample_prompts(scene, np.random.default_rng(0), count=200).labels
    kinds = {tuple(row[row > -2].tolist()) for row in labels}
    assert kinds == {(1, -1), (1, 1, -1), (1, 1, 1, -1), (2, 3), (1, 2, 3)}


@given(scenes(), seeds)
def test_noisy_boxes_stay_near_and_inside(scene: Scene, seed: int) -> None:
    box = scene.boxes[0]
    noisy = noisy_box(box, np.random.default_rng(seed), size_px=SIZE)
    assert noisy.dtype == np.float32
    assert (noisy >= 0).all()
    assert (noisy <= SIZE).all()
    assert np.abs(noisy - box).max() <= 20 * SIZE / 1024 + 1e-4
