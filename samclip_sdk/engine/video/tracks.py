"""Tracks objects from frame to frame, by the IoU of masks and by the embeddings inside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from samclip_sdk.engine.objects import Detection, FoundObject
from samclip_sdk.image.masks import mask_ious
from samclip_sdk.text.unit_length import normalize

Array = NDArray[np.float32]

SAME_OBJECT_IOU = 0.2
"""A mask is of the same object if its IoU with the expected mask is at least this."""

SAME_COSINE = 0.8
"""Two masks that lie apart are of the same object if their embeddings' cosine is at least this."""

NEW_SCORE = 0.05
"""A mask with a lower score is no new object; it may be a known one that is partly hidden."""

PATIENCE = 300
"""The number of frames after which a lost object is forgotten."""

MAX_LOST = 100
"""The most lost objects that are kept; those that were lost last stay."""

MEMORY = 0.8
"""The weight of an object's earlier embeddings and speeds, against the newest one."""


FARNESS = 0.5
"""The cosine that a distance costs, for each side of the model's input."""


@dataclass(frozen=True)
class FrameDetections:
    """The objects that the model found in a frame, in the model frame.

    Attributes:
        sightings: the objects, the best first.
        masks: the objects' masks, bool [m,4g,4g].
        moved: float32 [m,2], each object's speed for one frame, (x, y) in sides of the model's
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
        found: the object in the frame where the model last saw it.
        low_res: float32 [4g,4g], its mask's logits in that frame, in the model frame.
        embedding: float32 [E], the average inside its masks, unit length.
        position: float32 [2], the middle of its mask, (x, y) in sides of the model's input.
        speed: float32 [2], its motion for one frame, (x, y) in sides of the model's input.
        seen: the number of that frame.
    """

    id: int
    found: FoundObject
    low_res: Array
    embedding: Array
    position: Array
    speed: Array
    seen: int

    def position_at(self, index: int) -> Array:
        """Predicts its place in a later frame at constant speed; never outside the input."""
        position: Array = np.clip(self.position + (index - self.seen) * self.speed, 0, 1)
        return position


class Tracks:
    """The objects of a video: those in sight, and those that may come back.

    Attributes:
        in_sight: the tracks in the last frame, in the order of the detections.
        lost: the other tracks; the one that was lost last is at the end.
    """

    def __init__(self) -> None:
        self.in_sight: list[Track] = []
        self.lost: list[Track] = []
        self._last_id = 0

    def of_label(self, label_index: int) -> list[int]:
        """The indexes of a label's tracks in `in_sight`."""
        return [
            index
            for index, each in enumerate(self.in_sight)
            if each.found.label_index == label_index
        ]

    def forget_positions(self) -> None:
        """Marks all tracks as lost, after a cut: objects may come back, but at other places."""
        self.lost, self.in_sight = [*self.lost, *self.in_sight], []

    def update(self, look: FrameDetections) -> None:
        """Matches detections with tracks, and starts new tracks.

        Masks that overlap are matched first. The rest is matched by embeddings; if several fit, the
        one nearest to the predicted place wins.
        """
        self.lost = [each for each in self.lost if look.index - each.seen <= PATIENCE]
        known = [*self.in_sight, *reversed(self.lost)]
        pairs = _pair(look, known)
        now = [
            self._seen(look, index, known[pairs[index]] if index in pairs else None)
            for index, each in enumerate(look.sightings)
            if index in pairs or each.found.score >= NEW_SCORE
        ]
        taken = {known[index].id for index in pairs.values()}
        lost = [each for each in (*self.lost, *self.in_sight) if each.id not in taken]
        self.lost = lost[-MAX_LOST:]
        self.in_sight = now

    def _seen(self, look: FrameDetections, index: int, track: Track | None) -> Track:
        """Updates a track by a detection, or makes a new one."""
        sighting, speed = look.sightings[index], look.moved[index]
        embedding = sighting.embedding
        if track is None:
            self._last_id += 1
        else:
            embedding = normalize(_mixed(track.embedding, embedding))
            speed = _mixed(track.speed, speed)
        return Track(
            id=self._last_id if track is None else track.id,
            found=sighting.found,
            low_res=sighting.low_res.copy(),  # a view would keep the logits of all candidates
            embedding=embedding,
            position=_middle(look.masks[index]),
            speed=speed,
            seen=look.index,
        )


def _pair(look: FrameDetections, known: Sequence[Track]) -> dict[int, int]:
    """Maps indexes of sightings to indexes of tracks; `known` begins with `expected`."""
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
    positions = np.array([each.position_at(look.index) for each in known]).reshape(-1, 1, 2)
    distances = np.hypot(*np.moveaxis(positions - middles, -1, 0))
    return pairs | best_pairs(cosines - FARNESS * distances, allowed=left)


def best_pairs(likeness: NDArray[np.floating], *, allowed: NDArray[np.bool_]) -> dict[int, int]:
    """Pairs columns with rows, the most similar pair first; each is in one pair at most.

    Args:
        likeness: [n,m].
        allowed: bool [n,m], which pairs are possible.

    Returns:
        Column -> row.
    """
    values, pairs = np.where(allowed, likeness, -np.inf), dict[int, int]()
    while values.size and np.isfinite(values.max()):
        row, column = divmod(int(values.argmax()), values.shape[1])
        pairs[column] = row
        values[row], values[:, column] = -np.inf, -np.inf
    return pairs


def _labels(objects: Sequence[Track] | Sequence[Detection]) -> NDArray[np.int32]:
    return np.array([each.found.label_index for each in objects], dtype=np.int32)


def _mixed(before: Array, newest: Array) -> Array:
    mixed: Array = (MEMORY * before + (1 - MEMORY) * newest).astype(np.float32)
    return mixed


def _middle(mask: NDArray[np.bool_]) -> Array:
    """The mean place of a mask's pixels, (x, y) in its sides; the centre for an empty mask."""
    rows, columns = np.nonzero(mask)
    if not len(rows):
        return np.full(2, 0.5, dtype=np.float32)
    middle = (np.array([columns.mean(), rows.mean()]) + 0.5) / len(mask)
    return middle.astype(np.float32)
