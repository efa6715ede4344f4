"""Simulated prompts, as SAM's training draws them: points, noisy boxes, and both.

Some hold background points from the start, which SAM draws only where a mask was wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from samclip_sdk.image.frame import Frame
from samclip_sdk.image.masks import mask_to_box
from training.composed.scenes import Scene

MAX_POINTS = 5
"""Slots of a prompt: up to three points, on the object or not, and a box or SAM's padding token."""

_PADDING, _FILLER = -1, -2
_WITH_BACKGROUND = 0.35  # share of prompts with points that are not on the object
_NEAR = 0.5  # of the object's own size: how far from it a point is near
_CLEAR_PX = 2.0  # from the object, which no annotation outlines sharper


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
        masks: K of bool [h,w], at the top left of the image, without its padding; none is empty.
        boxes: float32 [K,4], XYXY around them.
        rng: the only source of chance.
        size_px: S, the image's side.

    Returns:
        coords float32 [K,P,2] and labels int32 [K,P].
    """
    coords = np.zeros((len(masks), MAX_POINTS, 2), np.float32)
    labels = np.full((len(masks), MAX_POINTS), _FILLER, np.int32)
    for row, (mask, box) in enumerate(zip(masks, boxes, strict=True)):
        with_box = rng.random() < 0.4
        points = int(rng.integers(0, 2) if with_box else rng.choice([1, 1, 1, 2, 3]))
        regions = [mask] * points
        if rng.random() < _WITH_BACKGROUND:
            outside = _outside(mask, box, rng, with_box=with_box)
            regions = [*regions[:1], *outside] if outside else regions
        points = len(regions)
        for slot, index in enumerate(regions):
            coords[row, slot] = _point(index, rng)
            labels[row, slot] = index is mask
        if with_box:
            corners = noisy_box(box, rng, size_px=size_px)
            coords[row, points : points + 2] = corners.reshape(2, 2)
            labels[row, points : points + 2] = (2, 3)
        else:
            labels[row, points] = _PADDING
    return coords, labels


def prompt_in_frame(
    masks: Sequence[np.ndarray], frame: Frame, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draws one prompt for each of K masks bool [S,S], as `prompt_objects`.

    None is in the padding, where no user's is, and where a box's noise may lead.
    """
    boxes = np.array([mask_to_box(mask) for mask in masks], np.float32).reshape(-1, 4)
    width, height = frame.resized_width_px, frame.resized_height_px
    unpadded = [mask[:height, :width] for mask in masks]
    coords, labels = prompt_objects(unpadded, boxes, rng, size_px=frame.resolution)
    return coords.clip(max=np.array((width, height), np.float32)), labels


def sample_regions(
    boxes: np.ndarray,
    rng: np.random.Generator,
    *,
    width_px: int,
    height_px: int,
    random_regions: int,
) -> np.ndarray:
    """Boxes float32 [R,4] to compare CLIP features in: one around each prompt's, some at random.

    The prompts' boxes are float32 [K,4], XYXY. Nothing at all if `random_regions` is 0.
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


def _point(area: np.ndarray, rng: np.random.Generator) -> tuple[int, int]:
    """A pixel (x, y) of an area, which is not empty."""
    row, column = divmod(int(rng.choice(np.flatnonzero(area))), area.shape[1])
    return column, row


def _outside(
    mask: np.ndarray, box: np.ndarray, rng: np.random.Generator, *, with_box: bool
) -> list[np.ndarray]:
    """Where background points of a prompt are drawn, bool [h,w] each, not empty.

    Beside a box it is one point, in the box if that holds anything else; otherwise one or two,
    each near the object or anywhere. There is none if the object fills the image.
    """
    distance = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_3)
    anywhere = distance >= _CLEAR_PX
    near = anywhere & (distance <= _CLEAR_PX + _NEAR * np.sqrt(np.count_nonzero(mask)))
    inside = np.zeros_like(mask)
    if with_box:
        left, top, right, bottom = box.astype(int)
        inside[top:bottom, left:right] = anywhere[top:bottom, left:right]
    count = 1 if with_box else int(rng.integers(1, 3))
    found = []
    for _ in range(count):
        wanted = inside if with_box else (near, anywhere)[rng.integers(2)]
        found += [area for area in (wanted, near, anywhere) if area.any()][:1]
    return found
