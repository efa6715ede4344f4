"""What a view teaches the proposal head: its things, where they are proposed, and what is none.

Most sets label only some of what an image shows. So an anchor without a label is hardly ever known
to show no thing, and counts as little as `UNLABELLED`; a score then means "a thing", whatever it is
called (OLN, arXiv:2108.06753).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from samclip_sdk.image.frame import Frame
from samclip_sdk.image.masks import mask_to_box
from samclip_sdk.image.proposals import ANCHORS
from samclip_sdk.modeling.proposal_head import anchor_centres
from training.batches import PATCH_PX
from training.real.photograph import Photograph
from training.real.segments import NAMELESS, Segment

UNLABELLED = 0.1
"""Weight of an anchor of which nothing is known."""

MIN_SHARE = 1 / 3
"""Of a thing's box that a view must keep for it to be taught."""

MIN_SIDE_PX = 8
"""Of the longer side of a thing; what is smaller is neither a thing nor none."""

_LEVELS = (slice(0, 4), slice(4, 5), slice(5, 6))  # of anchors: small, middle and large things
_SIDES_PX = ((0, 80), (56, 208), (160, np.inf))  # the longer side of the things of each level
_STRIDES_PX = (8, 16, 16)
_ANCHORS_EACH = 9  # of a level that propose one thing
_ALL_KINDS = (
    80  # categories of a complete set, COCO's, from which it labels nearly all that is seen
)


class ProposalTargets(NamedTuple):
    """What the proposal head learns of a view.

    Attributes:
        boxes: float32 [T,4], the things' boxes, XYXY in pixels of the input.
        assigned: int64 [6,g,g], the thing that each anchor proposes; -1 for none.
        background: float32 [6,g,g], how much it counts that an anchor with -1 proposes nothing.
    """

    boxes: np.ndarray
    assigned: np.ndarray
    background: np.ndarray


def proposal_targets(
    segments: Sequence[Segment], frame: Frame, *, unlabelled: float
) -> ProposalTargets:
    """Tells what a view teaches.

    Things are what is one of a kind that can be counted. Where stuff is, there is no thing. Of
    crowds and of masks of several things nothing is known, nor of things that are too small or cut
    off; an image with a mask without a name, which may be any region, teaches nothing at all. A
    anchor in a thing that proposes another or none is no other thing of that size.

    Args:
        segments: what is in sight, with what was pasted.
        frame: where the image lies in the input.
        unlabelled: how much it counts where no segment is.
    """
    grid = frame.resolution // PATCH_PX
    centres = anchor_centres(grid, grid).numpy()
    if any(each.concept == NAMELESS for each in segments):
        nothing = np.zeros((ANCHORS, grid, grid), np.float32)
        return ProposalTargets(np.zeros((0, 4), np.float32), np.full(nothing.shape, -1), nothing)
    x, y = centres.astype(np.int64)
    things = [each for each in segments if each.role == "thing"]
    boxes = [_box(each) for each in things]
    taught = [_is_taught(each, box) for each, box in zip(things, boxes, strict=True)]
    background = np.full(x.shape, unlabelled, np.float32)
    for each in segments:
        if each.role == "stuff":
            background[each.area[y, x]] = 1
    unknown = [each for each in segments if each.role == "unclear"]
    unknown += [each for each, good in zip(things, taught, strict=True) if not good]
    for each in unknown:
        background[each.area[y, x]] = 0
    things = [each for each, good in zip(things, taught, strict=True) if good]
    found = np.array([box for box, good in zip(boxes, taught, strict=True) if good], np.float32)
    found = found.reshape(-1, 4)
    areas = [each.area[y, x] if each.masked else None for each in things]
    assigned = assign(found, areas, centres)
    for box, area in zip(found, areas, strict=True):
        own = _inside(box, centres) if area is None else area
        for level, (low, high) in zip(_LEVELS, _SIDES_PX, strict=True):
            if low <= _longest(box) <= high:
                background[level][own[level]] = 1
    padding = (x >= frame.resized_width_px) | (y >= frame.resized_height_px)
    background[padding] = 0
    return ProposalTargets(found, assigned, background)


def assign(
    boxes: np.ndarray, areas: Sequence[np.ndarray | None], centres: np.ndarray
) -> np.ndarray:
    """Tells each anchor which thing it proposes: int64 [6,g,g], -1 for none.

    A thing is proposed by the anchors of its size, of which the sizes overlap. At each size it has
    the nine that are nearest to its middle, in its box and on its mask if it has one; of an anchor
    that several things claim, the smallest has it. A thing without one has the nearest.

    Args:
        boxes: float32 [T,4], XYXY in pixels of the input.
        areas: bool [6,g,g], the anchors on the mask of each; None without a mask.
        centres: float32 [2,6,g,g], of `anchor_centres`.
    """
    assigned = np.full(centres.shape[1:], -1, np.int64)
    sizes = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    for thing in np.argsort(sizes, kind="stable").tolist():
        box, area = boxes[thing], areas[thing]
        middle = (box[:2] + box[2:]).reshape(2, 1, 1, 1) / 2
        away = np.square(centres - middle).sum(axis=0)
        inside = _inside(box, centres)
        own = inside if area is None else inside & area
        for level, sides, stride in zip(_LEVELS, _SIDES_PX, _STRIDES_PX, strict=True):
            if not sides[0] <= _longest(box) <= sides[1]:
                continue
            there = next((each[level] for each in (own, inside) if each[level].any()), None)
            if there is None:
                there = away[level] == away[level].min()
                there &= away[level] < stride**2
            free = np.flatnonzero(there & (assigned[level] < 0))
            nearest = np.argsort(away[level].flat[free], kind="stable")[:_ANCHORS_EACH]
            assigned[level].flat[free[nearest]] = thing
    return assigned


def unlabelled_weight(one: Photograph) -> float:
    """How much it counts that a photograph has no label at an anchor: all in a set like COCO.

    A set that labels all of three kinds says little about what is no thing.
    """
    found = one.found
    partial = any(found.partial(one.row, each) for each in range(len(found.categories)))
    if not found.complete or partial:
        return UNLABELLED
    kinds = sum(each.thing and not each.nameless for each in found.categories)
    return float(np.clip(kinds / _ALL_KINDS, UNLABELLED, 1))


def _box(segment: Segment) -> np.ndarray:
    """The box of a thing: of its mask, or its own."""
    return mask_to_box(segment.area) if segment.masked else segment.box


def _longest(box: np.ndarray) -> float:
    return float((box[2:] - box[:2]).max())


def _is_taught(segment: Segment, box: np.ndarray) -> bool:
    return segment.share >= MIN_SHARE and _longest(box) >= MIN_SIDE_PX


def _inside(box: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """The anchors in a box: bool [6,g,g]."""
    low, high = box.reshape(2, 2, 1, 1, 1)
    inside: np.ndarray = ((centres > low) & (centres < high)).all(axis=0)
    return inside
