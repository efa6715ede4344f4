from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from training.composed.prompts import MAX_POINTS, noisy_box, prompt_objects, sample_prompts
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
        for label in (0, 1):
            x, y = coords[labels == label].astype(int).T
            assert (scene.masks[index, y, x] == label).all()
        # Points, then either a box's two corners or one padding token, then filler.
        points, background = int((labels == 1).sum()), int((labels == 0).sum())
        with_box = bool((labels == 2).any())
        tail = [2, 3] if with_box else [-1]
        filler = MAX_POINTS - points - background - len(tail)
        assert labels.tolist() == [1] * points + [0] * background + tail + [-2] * filler
        assert points <= 1 if with_box else 1 <= points <= (1 if background else 3)
        assert background <= (1 if with_box else 2)
        assert not coords[labels == -2].any()
        cells = scene.masks[index].reshape(SIZE // 4, 4, SIZE // 4, 4).mean(axis=(1, 3))
        np.testing.assert_array_equal(target, cells.astype(np.float16))


def drawn(mask: np.ndarray, box: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Many prompts for one object."""
    boxes = np.array([box] * 300, np.float32)
    return prompt_objects([mask] * 300, boxes, np.random.default_rng(0), size_px=SIZE)


def test_background_points_are_drawn_without_a_mask_before() -> None:
    """Near an object and far from it; of a box, in the box and beside the object."""
    mask = np.zeros((SIZE, SIZE), bool)
    mask[24:40, 8:16] = mask[36:40, 8:24] = True  # an L
    coords, labels = drawn(mask, (8, 24, 24, 40))
    kinds = {tuple(row[row > -2].tolist()) for row in labels}
    assert kinds >= {(1, 0, -1), (1, 0, 0, -1), (0, 2, 3), (1, 0, 2, 3)}
    boxed = (labels == 2).any(axis=1)
    x, y = coords[boxed][labels[boxed] == 0].T
    assert len(x) > 20
    assert ((x >= 16) & (x < 24) & (y >= 24) & (y < 36)).all()
    x, y = coords[~boxed][labels[~boxed] == 0].T
    away = np.hypot((8 - x).clip(0, None) + (x - 23).clip(0, None), (24 - y).clip(0, None))
    away = np.maximum(away, y - 39)
    assert 0.4 < np.mean(away <= 9) < 0.8, "a ring of half the object's size, and anywhere"
    assert away.max() > 20


def test_an_object_that_fills_the_image_has_no_background() -> None:
    _, labels = drawn(np.ones((SIZE, SIZE), bool), (0, 0, SIZE, SIZE))
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
