"""The places of things in a view of a photograph: a segment for each annotation."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from samclip_sdk.picture.frame import Frame
from training.real.photograph import Photograph
from training.real.photograph_pasting import cut_out, paste
from training.real.photograph_views import View
from training.real.records import BrokenRecord

NAMELESS = -1
"""The concept of what has no name to teach."""


@dataclass
class Segment:
    """One annotation in a view.

    Attributes:
        concept: number of its name, or `NAMELESS`.
        area: bool [S,S], its mask in the view, or its box where it has no mask.
        masked: whether that is a mask.
        single: whether it is the mask of one thing, which a prompt can ask for.
        thing: whether what its category names can be counted.
        exhaustive: whether its set promises that the picture's annotations hold all of its kind.
    """

    concept: int
    area: np.ndarray
    masked: bool
    single: bool
    thing: bool
    exhaustive: bool


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
                    thing=one.found.categories[annotation.category].thing,
                    exhaustive=one.found.exhaustive(one.row, annotation.category),
                )
            )
    for each in found:
        each.exhaustive &= each.concept not in lost
    return found


def paste_segment(
    image: np.ndarray,
    segments: list[Segment],
    donor: Photograph,
    number: int,
    rng: np.random.Generator,
    *,
    frame: Frame,
    least_px: int,
) -> Segment | None:
    """Pastes a thing of another photograph into a view, in place.

    Args:
        image: uint8 [S,S,3], changed.
        segments: of the view, changed: they lose what the thing hides, and what nothing is left of
            is gone.
        donor: the other photograph.
        number: of the annotation that is cut out of it.
        rng: the only source of chance.
        frame: where the picture lies in the input.
        least_px: area that the thing must have.

    Returns:
        The thing's own segment, which is exhaustive, and not among the others yet; None if it
        cannot be cut out, or has no place.
    """
    try:
        cutout = cut_out(donor, donor.found.table[number], resolution=frame.resolution // 2)
    except BrokenRecord:  # It is counted where it is asked for.
        return None
    if cutout is None:
        return None
    large = [each.area for each in segments if np.count_nonzero(each.area) >= least_px]
    before = large or [np.zeros(image.shape[:2], bool)]
    own, *after = paste(image, before, cutout, rng, frame=frame, least_px=least_px)
    if len(after) < len(before):
        return None
    for each in segments:
        if each.masked:
            each.area = each.area & ~own
    segments[:] = [each for each in segments if each.area.any()]
    (concept,) = donor.concepts(np.array([number])).tolist()
    return Segment(concept, own, masked=True, single=True, thing=True, exhaustive=True)
