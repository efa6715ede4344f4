"""Simulated prompts, as SAM's training draws them: points, noisy boxes, and both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from training.composed.scenes import Scene

MAX_POINTS = 5
"""Slots of a prompt: up to three points and either a box's two corners or SAM's padding token."""

_PADDING, _FILLER = -1, -2


@dataclass(frozen=True)
class Prompts:
    """K prompts of one scene, in its pixels.

    coords float32 [K,P,2], labels int32 [K,P], targets float16 [K,S/4,S/4] (covered share),
    boxes float32 [K,4] of the objects asked for.
    """

    coords: np.ndarray
    labels: np.ndarray
    targets: np.ndarray
    boxes: np.ndarray


def sample_prompts(scene: Scene, rng: np.random.Generator, *, count: int) -> Prompts:
    """Draws `count` prompts, each for an object of the scene drawn at random."""
    size = scene.image.shape[0]
    chosen = rng.integers(len(scene.masks), size=count)
    masks = [scene.masks[index] for index in chosen]
    coords, labels = prompt_objects(masks, scene.boxes[chosen], rng, size_px=size)
    cells = scene.masks.reshape(len(scene.masks), size // 4, 4, size // 4, 4)
    coverage = cells.mean(axis=(2, 4), dtype=np.float32).astype(np.float16)
    return Prompts(coords, labels, coverage[chosen], scene.boxes[chosen])


def prompt_objects(
    masks: Sequence[np.ndarray], boxes: np.ndarray, rng: np.random.Generator, *, size_px: int
) -> tuple[np.ndarray, np.ndarray]:
    """Draws one prompt for each of K objects.

    Args:
        masks: K of bool [h,w], at the top left of the picture; none is empty.
        boxes: float32 [K,4], XYXY around them.
        rng: the only source of chance.
        size_px: S, the picture's side.

    Returns:
        coords float32 [K,P,2] and labels int32 [K,P].
    """
    coords = np.zeros((len(masks), MAX_POINTS, 2), np.float32)
    labels = np.full((len(masks), MAX_POINTS), _FILLER, np.int32)
    for row, (mask, box) in enumerate(zip(masks, boxes, strict=True)):
        with_box = rng.random() < 0.4
        points = int(rng.integers(0, 2) if with_box else rng.choice([1, 1, 1, 2, 3]))
        coords[row, :points], labels[row, :points] = _points(mask, rng, points)
        if with_box:
            corners = noisy_box(box, rng, size_px=size_px)
            coords[row, points : points + 2] = corners.reshape(2, 2)
            labels[row, points : points + 2] = (2, 3)
        else:
            labels[row, points] = _PADDING
    return coords, labels


def sample_regions(
    boxes: np.ndarray,
    rng: np.random.Generator,
    *,
    width_px: int,
    height_px: int,
    random_regions: int,
) -> np.ndarray:
    """Boxes float32 [R,4] to compare CLIP features in: one around each prompt's, some at random.

    Nothing at all if `random_regions` is 0.

    Args:
        boxes: float32 [K,4], XYXY, of the objects asked for.
        rng: the only source of chance.
        width_px: of the picture, at the top left of the model's input.
        height_px: likewise.
        random_regions: how many are drawn anywhere in the picture.
    """
    if not random_regions:
        return np.zeros((0, 4), np.float32)
    size = min(width_px, height_px)
    margin = rng.uniform(0.0, 0.15, size=(len(boxes), 4)) * np.array([-1, -1, 1, 1])
    around = boxes + margin * np.tile(boxes[:, 2:] - boxes[:, :2], 2)
    side = size * rng.uniform(0.12, 0.5, size=random_regions)
    limits = np.array([width_px, height_px])
    corner = rng.uniform(0, limits[:, None] - side, size=(2, random_regions))
    anywhere = np.stack([*corner, *(corner + side)], axis=1)
    regions = np.concatenate([around, anywhere]).clip(0, np.tile(limits, 2))
    return regions.astype(np.float32)


def noisy_box(box: np.ndarray, rng: np.random.Generator, *, size_px: int) -> np.ndarray:
    """SAM's noise: each corner moves by a tenth of the side (sd), at most 20 px of 1024."""
    side = np.tile(box[2:] - box[:2], 2)
    limit = 20 * size_px / 1024
    noise = np.clip(rng.normal(0, 0.1, size=4) * side, -limit, limit)
    moved: np.ndarray = (box + noise).clip(0, size_px).astype(np.float32)
    return moved


def _points(
    mask: np.ndarray, rng: np.random.Generator, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Points [n,2] inside the mask, at pixel indices, and their labels [n], all 1."""
    flat = np.flatnonzero(mask)
    rows, columns = np.divmod(rng.choice(flat, size=count), mask.shape[1])
    return np.stack([columns, rows], axis=1).astype(np.float32), np.ones(count, np.int32)
