"""Things cut out of photographs by their masks, and pasted into others."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from samclip_sdk.picture.frame import Frame
from training.composed.cutouts import paint_over, warp
from training.real.annotation_table import Annotation
from training.real.photograph import Photograph
from training.real.photograph_views import part_view

SCALE = (0.15, 0.6)
"""Range of a pasted thing's longest side, as a fraction of the picture's shorter one."""

MIN_VISIBLE = 0.35  # of a mask must be left by what is pasted over it
_TRIES = 4  # places for a thing that would hide others
_OPAQUE = 128  # alpha from which a pixel is the thing's


def cut_out(one: Photograph, annotation: Annotation, *, resolution: int) -> np.ndarray | None:
    """Cuts a thing out of a photograph, its edge softened by a pixel.

    Args:
        one: the photograph.
        annotation: of the thing, with a mask.
        resolution: the longest side of the result.

    Returns:
        uint8 premultiplied RGBA [h,w,4]; None if it is no thing, or lies at the picture's border,
        where a part of it may be cut off.

    Raises:
        BrokenRecord: the picture or the mask cannot be read.
    """
    height, width = one.found.sizes[one.row].tolist()
    left, top, right, bottom = (int(side) for side in annotation.box.round())
    inside = left > 0 and top > 0 and right < width and bottom < height
    if not inside or not one.found.categories[annotation.category].thing:
        return None
    view = part_view((left - 1, top - 1, right + 1, bottom + 1), resolution=resolution)
    solid = one.mask(annotation, view).astype(np.uint8) * 255
    alpha = np.asarray(cv2.blur(cv2.erode(solid, np.ones((3, 3), np.uint8)), (3, 3)))
    colour = one.image(view).astype(np.uint16) * alpha[..., None] // 255
    rgba = np.dstack([colour.astype(np.uint8), alpha])
    return rgba[: view.frame.resized_height_px, : view.frame.resized_width_px]


def paste(
    image: np.ndarray,
    masks: Sequence[np.ndarray],
    cutout: np.ndarray,
    rng: np.random.Generator,
    *,
    frame: Frame,
    least_px: int,
) -> list[np.ndarray]:
    """Pastes a cut-out, turned and recoloured, where it leaves enough of all others in sight.

    Args:
        image: uint8 [S,S,3], changed in place.
        masks: of the picture, bool [S,S] each.
        cutout: uint8 premultiplied RGBA.
        rng: the only source of chance.
        frame: where the picture lies in the input; nothing is pasted into the padding.
        least_px: area that the thing, and each mask, must have afterwards.

    Returns:
        Its mask and then the others, without what it hides; as they were if there is no place.
    """
    height, width = frame.resized_height_px, frame.resized_width_px
    low, high = np.log(SCALE)
    side = min(height, width) * float(np.exp(rng.uniform(low, high)))
    patch = warp(cutout, rng, side_px=side)
    solid = patch[..., 3] >= _OPAQUE
    if patch.shape[0] > height or patch.shape[1] > width or solid.sum() < least_px:
        return list(masks)
    for _ in range(_TRIES):
        top = int(rng.integers(height - patch.shape[0] + 1))
        left = int(rng.integers(width - patch.shape[1] + 1))
        area = np.s_[top : top + patch.shape[0], left : left + patch.shape[1]]
        own = np.zeros_like(masks[0])
        own[area] = solid
        others = [mask & ~own for mask in masks]
        left_px = np.array([mask.sum() for mask in others])
        needed = np.array([max(least_px, MIN_VISIBLE * mask.sum()) for mask in masks])
        if (left_px >= needed).all():
            paint_over(image[area], patch)
            return [own, *others]
    return list(masks)
