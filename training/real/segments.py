"""Segments of a view of a photograph, one for each annotation, and things pasted from others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from samclip_sdk.image.frame import Frame
from samclip_sdk.image.masks import mask_to_box
from training.composed.cutouts import paint_over, warp
from training.real.annotation_table import Annotation
from training.real.photograph import Photograph
from training.real.photograph_views import View, part_view
from training.real.records import BrokenRecord

NAMELESS = -1
"""The concept of annotations without a name."""

SCALE = (0.15, 0.6)
"""Range of a pasted thing's longest side, as a fraction of the image's shorter one."""

MIN_VISIBLE = 0.35  # of a mask must be left by what is pasted over it
_TRIES = 4  # places for a thing that would hide others
_OPAQUE = 128  # alpha from which a pixel is the thing's


Role = Literal["thing", "stuff", "unclear"]
"""One thing that can be counted; a kind that cannot, such as grass; a crowd or any other region."""


@dataclass
class Segment:
    """One annotation in a view.

    Attributes:
        concept: number of its name, or `NAMELESS`.
        area: bool [S,S], its mask in the view, or its box where it has no mask.
        masked: whether that is a mask.
        single: whether it is the mask of one thing, which a prompt can ask for.
        exhaustive: whether its set promises that the image's annotations hold all of its kind.
        partial: whether its set says that the image may have more of its kind.
        role: what it is to the proposal head.
        box: float32 [4], XYXY in pixels of the input, the part of its box that is in sight.
        share: how much of its box that is, 0 to 1.
    """

    concept: int
    area: np.ndarray
    masked: bool
    single: bool
    exhaustive: bool
    partial: bool
    role: Role
    box: np.ndarray
    share: float


def locate_segments(one: Photograph, view: View, broken: Counter[str]) -> list[Segment]:
    """The segments in sight of a view; a broken mask is passed over and counted by kind.

    A kind of which one mask is broken is no longer exhaustive.
    """
    found: list[Segment] = []
    lost: set[int] = set()
    table, numbers = one.found.table, one.numbers
    for number, concept in zip(numbers.tolist(), one.concepts(numbers).tolist(), strict=True):
        annotation = table[number]
        if not view.visible_px(annotation.box):
            continue
        masked = annotation.segmentation is not None
        try:
            area = one.mask(annotation, view) if masked else view.boxed(annotation.box)
        except BrokenRecord as error:
            broken[error.kind] += 1
            lost.add(concept)
            continue
        if area.any():
            found.append(
                Segment(
                    concept,
                    area,
                    masked=masked,
                    single=bool(table.promptable[number]),
                    exhaustive=one.found.exhaustive(one.row, annotation.category),
                    partial=one.found.partial(one.row, annotation.category),
                    role=role_of(one, number),
                    box=view.box_in_sight(annotation.box),
                    share=view.share(annotation.box),
                )
            )
    for each in found:
        each.exhaustive &= each.concept not in lost
    return found


def role_of(one: Photograph, number: int) -> Role:
    """What an annotation is to the proposal head."""
    table = one.found.table
    category = one.found.categories[table.categories[number]]
    if category.nameless or table.crowd[number]:
        return "unclear"
    if not category.thing:
        return "stuff" if table.has_mask[number] else "unclear"
    return "thing" if table.single[number] else "unclear"


def paste_segment(
    image: np.ndarray,
    segments: list[Segment],
    donor: Photograph,
    number: int,
    rng: np.random.Generator,
    *,
    frame: Frame,
    min_px: int,
) -> Segment | None:
    """Pastes a thing of another photograph into a view, in place.

    Args:
        image: uint8 [S,S,3], changed.
        segments: of the view, changed: they lose what the thing hides, and what nothing is left of
            is gone.
        donor: the other photograph.
        number: of the annotation that is cut out of it.
        rng: the only source of chance.
        frame: where the image lies in the input.
        min_px: area that the thing must have, and leave of others that have it.

    Returns:
        The thing's own segment, which is exhaustive, and not among the others yet; None if it
        cannot be cut out, or has no place, or if nothing else is large enough to be asked for.
    """
    try:
        cutout = cut_out(donor, donor.found.table[number], resolution=frame.resolution // 2)
    except BrokenRecord:  # It is counted where it is asked for.
        return None
    large = [each.area for each in segments if np.count_nonzero(each.area) >= min_px]
    if cutout is None or not large:
        return None
    own = paste(image, large, cutout, rng, frame=frame, min_px=min_px)
    if own is None:
        return None
    for each in segments:
        if each.masked:
            each.area = each.area & ~own
    segments[:] = [each for each in segments if each.area.any()]
    (concept,) = donor.concepts(np.array([number])).tolist()
    return Segment(
        concept,
        own,
        masked=True,
        single=True,
        exhaustive=True,
        partial=False,
        role="thing",
        box=mask_to_box(own),
        share=1.0,
    )


def cut_out(one: Photograph, annotation: Annotation, *, resolution: int) -> np.ndarray | None:
    """Cuts a thing out of a photograph, its edge softened, its longest side `resolution`.

    Returns:
        uint8 premultiplied RGBA [h,w,4]; None if it is no thing, or lies at the image's border,
        where a part of it may be cut off.

    Raises:
        BrokenRecord: the image or the mask cannot be read.
    """
    height, width = one.size
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
    min_px: int,
) -> np.ndarray | None:
    """Pastes a cut-out, turned and recoloured, where it leaves enough of all others in sight.

    The image uint8 [S,S,3] is changed in place, within the frame. The thing, and each mask bool
    [S,S], must have `min_px` afterwards.

    Returns:
        Its mask, bool [S,S]; None if there is no place.
    """
    height, width = frame.resized_height_px, frame.resized_width_px
    low, high = np.log(SCALE)
    side = min(height, width) * float(np.exp(rng.uniform(low, high)))
    patch = warp(cutout, rng, side_px=side)
    solid = patch[..., 3] >= _OPAQUE
    if patch.shape[0] > height or patch.shape[1] > width or solid.sum() < min_px:
        return None
    needed = [max(min_px, MIN_VISIBLE * mask.sum()) for mask in masks]
    for _ in range(_TRIES):
        top = int(rng.integers(height - patch.shape[0] + 1))
        left = int(rng.integers(width - patch.shape[1] + 1))
        area = np.s_[top : top + patch.shape[0], left : left + patch.shape[1]]
        own = np.zeros(image.shape[:2], bool)
        own[area] = solid
        if all((mask & ~own).sum() >= px for mask, px in zip(masks, needed, strict=True)):
            paint_over(image[area], patch)
            return own
    return None
