"""Which object is which, from frame to frame: by the IoU of masks, and by what is inside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from samclip_sdk.engine.objects import Detection, FoundObject
from samclip_sdk.text.unit_length import normalize

Array = NDArray[np.float32]

SAME_OBJECT_IOU = 0.2
"""A mask that overlaps the one that was expected by so much is of the same object."""

SAME_COSINE = 0.8
"""What is inside of two masks that lie apart is the same object from this cosine on."""

NEW_SCORE = 0.05
"""What scores less is no new object; it may be one that is known, hidden in part."""

PATIENCE = 300
"""For how many frames an object that was lost is waited for."""

MAX_LOST = 100
"""How many lost objects are waited for, those that were lost last."""

MEMORY = 0.8
"""The weight of what was inside an object's masks before, against the newest one."""


FARNESS = 0.5
"""How much cosine it takes to be the same object as far away as the model's input is wide."""


@dataclass(frozen=True)
class FrameDetections:
    """What the model found in a frame, in the model frame.

    Attributes:
        sightings: the best first.
        masks: of them, bool [m,4g,4g].
        moved: float32 [m,2], how far each moved in a frame's time, (x, y) in sides of the model's
            input.
        expected: bool [n,4g,4g], the masks of the tracks in sight, moved to this frame.
        index: the number of the frame.
    """

    sightings: Sequence[Detection]
    masks: NDArray[np.bool_]
    moved: Array
    expected: NDArray[np.bool_]
    index: int


@dataclass(frozen=True)
class Track:
    """An object, as it was last seen.

    Attributes:
        id: from 1, never given twice.
        found: in the frame where the model last looked.
        low_res: float32 [4g,4g], its mask's logits there, in the model frame.
        embedding: float32 [E], what was inside its masks, of unit length.
        place: float32 [2], the middle of its mask, (x, y) in sides of the model's input.
        speed: float32 [2], how it moves in a frame's time, likewise.
        seen: the number of that frame.
    """

    id: int
    found: FoundObject
    low_res: Array
    embedding: Array
    place: Array
    speed: Array
    seen: int

    def place_at(self, index: int) -> Array:
        """Where it should be in a later frame if it goes on as it went; never outside."""
        place: Array = np.clip(self.place + (index - self.seen) * self.speed, 0, 1)
        return place


class Tracks:
    """The objects of a video: those in sight, and those that may come back.

    Attributes:
        in_sight: the tracks of the last frame that was given, in the order of what was found.
        lost: others, the one that was lost last at the end.
    """

    def __init__(self) -> None:
        self.in_sight: list[Track] = []
        self.lost: list[Track] = []
        self._last_id = 0

    def of_label(self, label_index: int) -> list[int]:
        """The places among those in sight of a label's tracks."""
        return [
            place
            for place, each in enumerate(self.in_sight)
            if each.found.label_index == label_index
        ]

    def forget_places(self) -> None:
        """After a cut: objects may come back, but no longer where they were."""
        self.lost, self.in_sight = [*self.lost, *self.in_sight], []

    def update(self, look: FrameDetections) -> None:
        """Tells which of what was found is which of what is known, and what is new.

        First the masks that overlap, then, of those that are left, what looks the same; of several
        that do, what is nearest to where it should be.
        """
        self.lost = [each for each in self.lost if look.index - each.seen <= PATIENCE]
        known = [*self.in_sight, *reversed(self.lost)]
        pairs = _pair(look, known)
        now = [
            self._seen(look, place, known[pairs[place]] if place in pairs else None)
            for place, each in enumerate(look.sightings)
            if place in pairs or each.found.score >= NEW_SCORE
        ]
        taken = {known[place].id for place in pairs.values()}
        lost = [each for each in (*self.lost, *self.in_sight) if each.id not in taken]
        self.lost = lost[-MAX_LOST:]
        self.in_sight = now

    def _seen(self, look: FrameDetections, place: int, track: Track | None) -> Track:
        """A track as it is seen now, or a new one."""
        sighting, speed = look.sightings[place], look.moved[place]
        embedding = sighting.embedding
        if track is None:
            self._last_id += 1
        else:
            embedding = normalize(_mixed(track.embedding, embedding))
            speed = _mixed(track.speed, speed)
        return Track(
            id=self._last_id if track is None else track.id,
            found=sighting.found,
            low_res=sighting.low_res.copy(),  # a view would hold those of all candidates
            embedding=embedding,
            place=_middle(look.masks[place]),
            speed=speed,
            seen=look.index,
        )


def _pair(look: FrameDetections, known: Sequence[Track]) -> dict[int, int]:
    """The place of a sighting -> that of the track which it is; `known` begins with `expected`."""
    seen = look.sightings
    shape = (len(known), len(seen))
    overlaps = np.zeros(shape, dtype=np.float32)
    overlaps[: len(look.expected)] = mask_ious(look.expected, look.masks)
    cosines = np.array([[a.embedding @ b.embedding for b in seen] for a in known]).reshape(shape)
    may_be = _labels(known)[:, None] == _labels(seen)
    pairs = best_pairs(overlaps + cosines, allowed=may_be & (overlaps >= SAME_OBJECT_IOU))
    left = may_be & (cosines >= SAME_COSINE)
    left[:, list(pairs)] = False
    left[list(pairs.values())] = False
    middles = np.array([_middle(each) for each in look.masks]).reshape(-1, 2)
    places = np.array([each.place_at(look.index) for each in known]).reshape(-1, 1, 2)
    distances = np.hypot(*np.moveaxis(places - middles, -1, 0))
    return pairs | best_pairs(cosines - FARNESS * distances, allowed=left)


def best_pairs(likeness: NDArray[np.floating], *, allowed: NDArray[np.bool_]) -> dict[int, int]:
    """Pairs columns with rows, the likest pair first; each stands in one pair at most.

    Args:
        likeness: [n,m].
        allowed: bool [n,m], which pairs may be.

    Returns:
        Column -> row.
    """
    values, pairs = np.where(allowed, likeness, -np.inf), dict[int, int]()
    while values.size and np.isfinite(values.max()):
        row, column = divmod(int(values.argmax()), values.shape[1])
        pairs[column] = row
        values[row], values[:, column] = -np.inf, -np.inf
    return pairs


def mask_ious(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> Array:
    """The IoU of each of n masks [n,h,w] with each of m, [n,m]; 0 of two empty ones."""
    a, b = (
        each.reshape(len(each), each.shape[1] * each.shape[2]).astype(np.float32)
        for each in (first, second)
    )
    shared = a @ b.T
    union = a.sum(axis=1)[:, None] + b.sum(axis=1) - shared
    ious: Array = shared / np.maximum(union, 1)
    return ious


def _labels(objects: Sequence[Track] | Sequence[Detection]) -> NDArray[np.int32]:
    return np.array([each.found.label_index for each in objects], dtype=np.int32)


def _mixed(before: Array, newest: Array) -> Array:
    mixed: Array = (MEMORY * before + (1 - MEMORY) * newest).astype(np.float32)
    return mixed


def _middle(mask: NDArray[np.bool_]) -> Array:
    """The mean place of a mask's pixels, (x, y) in its sides; of an empty mask the centre."""
    rows, columns = np.nonzero(mask)
    if not len(rows):
        return np.full(2, 0.5, dtype=np.float32)
    middle = (np.array([columns.mean(), rows.mean()]) + 0.5) / len(mask)
    return middle.astype(np.float32)
