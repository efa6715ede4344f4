"""Scenes composed from cut-outs: images whose masks, boxes and names are exact by construction.

Cut-outs of one split are pasted over backgrounds of the same side of the split: turned, flipped,
stretched, recoloured, shaded, hiding one another. Everything random comes from the generator
passed in: same generator state, same scene.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from samclip_sdk.image.masks import mask_to_box
from training.composed.backdrops import draw_backdrop, finish
from training.composed.corpus import Corpus
from training.composed.cutouts import paint_over, warp

MIN_VISIBLE = 0.35  # of an object's own area; what is hidden more than that has no fair label
TWO_OF_A_KIND = 0.25  # of the scenes
_OVERHANG = 0.15  # of an object's side may lie outside the image
_PLACEMENTS = 4  # tries before an object that would hide another is dropped
_SHADOWED = 0.33  # of the objects cast a shadow
_OPAQUE = 128  # alpha from which a pixel is the object's


@dataclass(frozen=True)
class Scene:
    """One image and all that is in it, in pixels of the image.

    Attributes:
        image: uint8 RGB [S,S,3].
        masks: bool [N,S,S], the visible part of each object; no two overlap.
        labels: int64 [N], indices into the corpus's nouns.
        boxes: float32 [N,4], XYXY around the visible part; right and bottom edges are exclusive,
            so x2 - x1 is the width in pixels.
        unlabelled: int64 [U], nouns that the photo behind the objects may show, with no mask: a
            mountain, say. A loss or a metric must not count them as absent.
    """

    image: np.ndarray
    masks: np.ndarray
    labels: np.ndarray
    boxes: np.ndarray
    unlabelled: np.ndarray


def compose_scene(
    corpus: Corpus,
    rng: np.random.Generator,
    *,
    size_px: int,
    count: tuple[int, int] = (1, 5),
    scale: tuple[float, float] = (0.14, 0.95),
    plain: bool = False,
    hues: bool = False,
) -> Scene:
    """Compose one scene.

    Args:
        corpus: Where objects and backgrounds come from. Nouns are drawn evenly, whatever the
            number of their cut-outs.
        rng: The only source of chance.
        size_px: Side S of the square image.
        count: Fewest and most objects to paste. Fewer stay where no place is left, none only if
            none was asked for.
        scale: Range of an object's longest side, log-uniform, as a fraction of the image's.
        plain: One flat colour behind the objects.
        hues: Turn the objects' hues, which training does and a measurement does not.

    Returns:
        The scene. At least `MIN_VISIBLE` of every object is in sight.
    """
    wanted = int(rng.integers(count[0], count[1] + 1))
    image, photo = draw_backdrop(corpus.backgrounds, rng, size_px=size_px, plain=plain)
    owner = np.full((size_px, size_px), -1, np.int8)  # the object in sight at each pixel
    chosen: list[int] = []
    areas: list[int] = []
    visible: list[int] = []
    # Large things go behind: otherwise they would hide most of what was pasted before.
    low, high = np.log(scale)
    sides = np.sort(np.exp(rng.uniform(low, high, wanted)))[::-1] * size_px
    twins = wanted > 1 and rng.random() < TWO_OF_A_KIND
    while wanted and not chosen:
        for side in sides:
            like = corpus.labels[chosen[0]] if twins and len(chosen) == 1 else None
            pick = _pick(corpus, rng, like=like)
            patch = warp(corpus.cutouts[pick], rng, side_px=side, hues=hues)
            solid = patch[..., 3] >= _OPAQUE
            corner = _place(solid, rng, owner=owner, areas=areas, visible=visible)
            if corner is None:
                continue
            _paste(image, patch, rng, corner=corner)
            roi, inner = _clip(corner, solid.shape, size_px)
            owner[roi][solid[inner]] = len(chosen)
            chosen.append(pick)
    masks = owner == np.arange(len(chosen), dtype=np.int8)[:, None, None]
    return Scene(
        image=finish(image, rng),
        masks=masks,
        labels=corpus.labels[np.array(chosen, np.int64)],
        boxes=np.array([mask_to_box(mask) for mask in masks], np.float32).reshape(-1, 4),
        unlabelled=np.empty(0, np.int64) if photo is None else corpus.shown[photo],
    )


def clean_image(corpus: Corpus, index: int, *, size_px: int) -> np.ndarray:
    """One cut-out, upright and centred over plain light grey: the clean evaluation.

    Returns uint8 RGB [S,S,3]; the cut-out's longest side is 80 % of S.
    """
    cutout = corpus.cutouts[index]
    ratio = 0.8 * size_px / max(cutout.shape[:2])
    height, width = (max(1, round(side * ratio)) for side in cutout.shape[:2])
    shrink = cv2.INTER_AREA if ratio < 1 else cv2.INTER_LINEAR
    patch = cv2.resize(cutout, (width, height), interpolation=shrink)
    image = np.full((size_px, size_px, 3), 236, np.uint8)
    top, left = (size_px - height) // 2, (size_px - width) // 2
    paint_over(image[top : top + height, left : left + width], patch)
    return image


def _pick(corpus: Corpus, rng: np.random.Generator, *, like: int | None) -> int:
    """A cut-out of the noun `like`, or of any noun, every noun as likely."""
    if like is None:
        group = corpus.by_noun[int(rng.integers(len(corpus.by_noun)))]
    else:
        group = np.flatnonzero(corpus.labels == like)
    return int(group[int(rng.integers(len(group)))])


def _place(
    solid: np.ndarray,
    rng: np.random.Generator,
    *,
    owner: np.ndarray,
    areas: list[int],
    visible: list[int],
) -> tuple[int, int] | None:
    """Find a corner (top, left) where enough of all objects stays visible, and book the areas."""
    size_px = len(owner)
    area = int(np.count_nonzero(solid))
    for _ in range(_PLACEMENTS):
        top, left = (round(_spot(rng.random(), side, size_px)) for side in solid.shape)
        corner = (top, left)
        roi, inner = _clip(corner, solid.shape, size_px)
        covered = owner[roi][solid[inner]]
        hidden = np.bincount(covered + 1, minlength=len(areas) + 1)[1:]
        kept = np.array(visible, np.int64) - hidden
        if (
            len(covered)
            and len(covered) >= MIN_VISIBLE * area
            and np.all(kept >= MIN_VISIBLE * np.array(areas))
        ):
            visible[:] = [*kept.tolist(), len(covered)]
            areas.append(area)
            return corner
    return None


def _spot(chance: float, side: int, size_px: int) -> float:
    """Draws the start of a side along an axis; most of it stays inside."""
    low, high = -_OVERHANG * side, size_px - (1 - _OVERHANG) * side
    if low > high:  # larger than the image
        low, high = high, low
    return low + chance * (high - low)


def _clip(
    corner: tuple[int, int], shape: tuple[int, int], size_px: int
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """The part of a patch that lies in the image, as slices of the image and of the patch."""
    roi, inner = [], []
    for start, side in zip(corner, shape, strict=True):
        first, last = max(start, 0), max(0, min(start + side, size_px))
        roi.append(slice(first, last))
        inner.append(slice(first - start, last - start))
    return (roi[0], roi[1]), (inner[0], inner[1])


def _paste(
    image: np.ndarray, patch: np.ndarray, rng: np.random.Generator, *, corner: tuple[int, int]
) -> None:
    """Blend a patch into the image, in a third of cases after the shadow that it casts."""
    if rng.random() < _SHADOWED:
        right, down, dark, soft = rng.random(4).tolist()
        reach = max(patch.shape[:2])
        blur = 1 + int(0.12 * soft * reach)
        alpha = np.pad(patch[..., 3], 2 * blur)
        alpha = cv2.blur(cv2.blur(alpha, (blur, blur)), (blur, blur))
        shadow = np.zeros((*alpha.shape, 4), np.uint8)
        shadow[..., 3] = alpha * (0.2 + 0.5 * dark)
        top = corner[0] - 2 * blur + int(0.12 * down * reach)
        left = corner[1] - 2 * blur + int(0.2 * (right - 0.5) * reach)
        roi, inner = _clip((top, left), alpha.shape, len(image))
        paint_over(image[roi], shadow[inner])
    roi, inner = _clip(corner, patch.shape[:2], len(image))
    paint_over(image[roi], patch[inner])
