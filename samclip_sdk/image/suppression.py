"""Greedy suppression: of shapes that show the same, the best stays.

`suppress` is the only loop. The shapes may be boxes, masks of one array, or packed masks.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from samclip_sdk.image.packed_masks import PackedMask, are_alike, overlap

SAME_IOU = 0.5
"""Two masks whose IoU is above this are one object."""

CONTAINED_SHARE = 0.8
"""A mask is dropped if better masks cover at least this share of its area: it is a part of an
object, or several objects taken for one."""


class Shapes(ABC):
    """Shapes of an image, some of which are kept, the best first."""

    def __init__(self) -> None:
        self.kept: list[int] = []

    @abstractmethod
    def is_same(self, index: int, *, iou: float) -> bool:
        """Whether the IoU of a shape with one that is kept is above `iou`."""

    def is_part(self, index: int) -> bool:
        """Whether a shape is a part of those that are kept; a box is none."""
        return False

    def keep(self, index: int) -> None:
        """Keeps a shape."""
        self.kept.append(index)


def suppress(
    shapes: Shapes,
    order: Iterable[int],
    *,
    same_iou: float,
    at_most: int | None = None,
) -> list[int]:
    """Keeps the shapes that show anything new.

    Args:
        shapes: the shapes.
        order: their indexes, the best first.
        same_iou: the IoU with a kept shape above which a shape is dropped.
        at_most: how many are kept; None for any number.

    Returns:
        The indexes of the kept shapes, the best first.
    """
    for index in order:
        if len(shapes.kept) == at_most:
            break
        if not (shapes.is_part(index) or shapes.is_same(index, iou=same_iou)):
            shapes.keep(index)
    return shapes.kept


class Boxes(Shapes):
    """Boxes [N,4], XYXY; the edges are compared as they are. Those without an area overlap none."""

    def __init__(self, boxes: NDArray[np.float32]) -> None:
        super().__init__()
        self._boxes, self._areas = boxes, (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)

    def is_same(self, index: int, *, iou: float) -> bool:
        """Whether the IoU of a box with one that is kept is above `iou`."""
        boxes, areas, own = self._boxes[self.kept], self._areas[self.kept], self._boxes[index]
        near, far = np.maximum(boxes[:, :2], own[:2]), np.minimum(boxes[:, 2:], own[2:])
        shared = np.maximum(far - near, 0).prod(axis=1)
        return bool((shared > iou * (areas + self._areas[index] - shared)).any())


class Planes(Shapes):
    """Masks of one array, bool [N,h,w].

    Args:
        masks: the masks.
        contained_share: a mask is a part if those that are kept cover, together, at least this
            share of its area; None if none is.
    """

    def __init__(
        self, masks: NDArray[np.bool_], *, contained_share: float | None = CONTAINED_SHARE
    ) -> None:
        super().__init__()
        self._share = contained_share
        self._flat = masks.reshape(len(masks), masks.shape[1] * masks.shape[2])
        self._areas = np.count_nonzero(self._flat, axis=1)
        self._covered = np.zeros(self._flat.shape[1], dtype=bool)

    def is_same(self, index: int, *, iou: float) -> bool:
        """Whether the IoU of a mask with one that is kept is above `iou`."""
        shared = np.count_nonzero(self._flat[self.kept] & self._flat[index], axis=1)
        areas = self._areas[self.kept] + self._areas[index]
        return bool((shared > iou * (areas - shared)).any())

    def is_part(self, index: int) -> bool:
        """Whether a mask is a part of those that are kept."""
        covered = int(np.count_nonzero(self._covered & self._flat[index]))
        return _is_covered(covered, area=self._areas[index], share=self._share)

    def keep(self, index: int) -> None:
        """Keeps a mask."""
        super().keep(index)
        self._covered |= self._flat[index]


class Packed(Shapes):
    """Packed masks of an image, by their indexes.

    Args:
        masks: the masks.
        contained_share: as of `Planes`.
        labels: the label of each mask. If there are labels, only masks of different labels compete,
            and a mask loses the pixels of better ones, see `left`.

    Attributes:
        left: what is left of each mask that is kept.
    """

    def __init__(
        self,
        masks: Sequence[PackedMask] | Mapping[int, PackedMask],
        *,
        contained_share: float | None = CONTAINED_SHARE,
        labels: Sequence[Hashable] | None = None,
    ) -> None:
        super().__init__()
        self._masks, self._share, self._labels = masks, contained_share, labels
        self.left: dict[int, PackedMask] = {}

    def is_same(self, index: int, *, iou: float) -> bool:
        """Whether the IoU of a mask with one that is kept is above `iou`."""
        own = self._masks[index]
        return any(are_alike(own, self._masks[rival], iou=iou) for rival in self._rivals(index))

    def is_part(self, index: int) -> bool:
        """Whether a mask is a part of its rivals that are kept."""
        if self._share is None:
            return False
        own = self._masks[index]
        covered = int(np.count_nonzero(self._taken(index) & own.part()))
        return _is_covered(covered, area=own.area, share=self._share)

    def keep(self, index: int) -> None:
        """Keeps a mask, or what is left of it."""
        own = self._masks[index]
        if self._labels is not None:
            part = own.part() & ~self._taken(index)
            own = PackedMask.pack(part, top=own.rows.start, left=own.columns.start)
        self.left[index] = own
        super().keep(index)

    def _rivals(self, index: int) -> list[int]:
        labels = self._labels
        return [each for each in self.kept if labels is None or labels[each] != labels[index]]

    def _taken(self, index: int) -> NDArray[np.bool_]:
        """Which pixels of a mask's box the rivals have: bool [h,w]."""
        own = self._masks[index]
        taken = np.zeros_like(own.part())
        for rival in self._rivals(index):
            other = self.left[rival]
            rows, columns = overlap(own.rows, other.rows), overlap(own.columns, other.columns)
            if rows and columns:
                top, left = own.rows.start, own.columns.start
                taken[
                    rows.start - top : rows.stop - top, columns.start - left : columns.stop - left
                ] |= other.inside(rows, columns)
        return taken


def _is_covered(covered: int, *, area: int, share: float | None) -> bool:
    return share is not None and bool(covered >= share * max(area, 1))
