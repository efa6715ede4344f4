"""Packed masks: one bit for each pixel, and only inside a mask's box.

As arrays, fifty objects of an image of 96 megapixels would take five gigabytes. Packed masks take
little memory, and become arrays one at a time, when they are used.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import EllipsisType
from typing import Any, SupportsIndex, cast, overload

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin
from numpy.typing import DTypeLike, NDArray

from samclip_sdk.image.frame import Frame
from samclip_sdk.image.masks import runs_to_rle
from samclip_sdk.image.upscale import upscale_above


@dataclass(frozen=True, eq=False)
class PackedMask:
    """A mask in an image.

    Attributes:
        rows: the image's rows that the tight box has; none for an empty mask.
        columns: the image's columns that the tight box has; none for an empty mask.
        bits: uint8 [h,ceil(w/8)], eight pixels of a row in each byte; read-only.
    """

    rows: slice
    columns: slice
    bits: NDArray[np.uint8]

    def __post_init__(self) -> None:
        bits = self.bits.view()
        bits.flags.writeable = False
        object.__setattr__(self, "bits", bits)

    @classmethod
    def pack(cls, part: NDArray[np.bool_], *, top: int = 0, left: int = 0) -> PackedMask:
        """Packs a part [h,w] of a mask; its first pixel is at (`left`, `top`) of the image."""
        rows, columns = np.flatnonzero(part.any(axis=1)), np.flatnonzero(part.any(axis=0))
        if not len(rows):
            return EMPTY
        own = slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)
        bits = np.packbits(part[own], axis=1)
        return cls(bits=bits, rows=own[0], columns=own[1]).moved(top=top, left=left)

    @property
    def empty(self) -> bool:
        """Whether the mask has no pixel."""
        return not self.bits.size

    @property
    def box(self) -> NDArray[np.float32]:
        """The tight box: float32 [4], XYXY, far edges exclusive, zeros for an empty mask."""
        edges = (self.columns.start, self.rows.start, self.columns.stop, self.rows.stop)
        return np.array(edges, dtype=np.float32)

    @property
    def start(self) -> tuple[int, int]:
        """The first column and row of the box."""
        return self.columns.start, self.rows.start

    @cached_property
    def area(self) -> int:
        """The number of pixels of the mask."""
        return int(np.unpackbits(self.bits).sum(dtype=np.int64))  # the bits that pad a row are 0

    def moved(self, *, top: int, left: int) -> PackedMask:
        """Moves the mask down and to the right, in a larger image."""
        rows, columns = self.rows, self.columns
        return PackedMask(
            slice(rows.start + top, rows.stop + top),
            slice(columns.start + left, columns.stop + left),
            self.bits,
        )

    def inside(self, rows: slice, columns: slice) -> NDArray[np.bool_]:
        """The mask in a part of its own box: bool [h,w]."""
        width = self.columns.stop - self.columns.start
        bits = self.bits[rows.start - self.rows.start : rows.stop - self.rows.start]
        part = np.unpackbits(bits, axis=1, count=width).view(bool)
        return part[:, columns.start - self.columns.start : columns.stop - self.columns.start]

    def part(self) -> NDArray[np.bool_]:
        """The mask in its box: bool [h,w]."""
        return self.inside(self.rows, self.columns)

    def draw(self, canvas: NDArray[np.bool_]) -> None:
        """Draws the mask into an array, bool [H,W], beside the masks that are there."""
        if not self.empty:
            canvas[self.rows, self.columns] |= self.part()

    def to_rle(self, size: tuple[int, int]) -> dict[str, list[int] | str]:
        """The mask as COCO's compressed RLE; equal to `mask_to_rle` of the array.

        Args:
            size: height and width of the image.
        """
        height, width = size
        # The box column by column, each with one pixel outside the mask below it.
        part = np.pad(self.part(), ((0, 1), (0, 0))) if not self.empty else np.zeros((1, 0), bool)
        flat = np.concatenate([[False], part.ravel(order="F")])
        column, row = np.divmod(np.flatnonzero(flat[1:] != flat[:-1]), len(part))
        edges = (self.columns.start + column) * height + self.rows.start + row
        # A run that reaches the image's last row may go on in the next column: then no edge there.
        edges, counts = np.unique(edges, return_counts=True)
        runs = np.diff(edges[counts == 1], prepend=0, append=height * width)
        return runs_to_rle(runs[: len(runs) - (runs[-1] == 0)], size=size)


EMPTY = PackedMask(slice(0, 0), slice(0, 0), np.zeros((0, 0), np.uint8))
"""The mask without a pixel."""


def shared_area(first: PackedMask, second: PackedMask) -> int:
    """The number of pixels that two masks of an image share."""
    rows, columns = overlap(first.rows, second.rows), overlap(first.columns, second.columns)
    if not (rows and columns):
        return 0
    return int(np.count_nonzero(first.inside(rows, columns) & second.inside(rows, columns)))


def are_alike(first: PackedMask, second: PackedMask, *, iou: float) -> bool:
    """Whether the IoU of two masks of an image is above `iou`."""
    small, large = sorted((first.area, second.area))
    if small <= iou * large:  # so that most pairs are not unpacked
        return False
    shared = shared_area(first, second)
    return shared > iou * (small + large - shared)


def overlap(first: slice, second: slice) -> slice | None:
    """The range that two ranges share; None if they share nothing."""
    start, stop = max(first.start, second.start), min(first.stop, second.stop)
    return slice(start, stop) if start < stop else None


def union(masks: Sequence[PackedMask]) -> PackedMask:
    """The union of one or more masks of an image."""
    filled = [each for each in masks if not each.empty]
    if len(filled) < 2:
        return filled[0] if filled else EMPTY
    top, left = (min(each.rows.start for each in filled), min(e.columns.start for e in filled))
    bottom, right = (max(each.rows.stop for each in filled), max(e.columns.stop for e in filled))
    canvas = np.zeros((bottom - top, right - left), dtype=bool)
    for each in filled:
        each.moved(top=-top, left=-left).draw(canvas)
    return PackedMask.pack(canvas, top=top, left=left)


@dataclass(frozen=True, eq=False)
class PackedMasks(NDArrayOperatorsMixin):
    """N masks of an image, which behave as an array bool [N,H,W] and take a fraction of its memory.

    A mask, `masks[0]`, is an array [H,W], made at each access; `masks[0, y, x]` is a pixel. A
    slice, or an array of indexes or flags, gives some masks, still packed. Operators and NumPy's
    functions work on the array of all masks, `np.asarray(masks)`.

    Attributes:
        image_size: height and width of the image.
        packed: the masks.
    """

    image_size: tuple[int, int]
    packed: tuple[PackedMask, ...]

    @classmethod
    def of(cls, masks: PackedMasks | NDArray[np.bool_]) -> PackedMasks:
        """Packs masks bool [N,H,W]; packed masks are returned as they are."""
        if isinstance(masks, PackedMasks):
            return masks
        height, width = masks.shape[1:]
        return cls((height, width), tuple(map(PackedMask.pack, masks)))

    @classmethod
    def of_logits(
        cls, low_res: NDArray[np.float32], *, frame: Frame, mask_threshold: float
    ) -> PackedMasks:
        """Upscales logits [N,s,s] in the model frame to the image, and thresholds them.

        The logits of one mask at a time are in memory.
        """
        packed = []
        for each in low_res:
            (rows, columns), logits = upscale_above(each, frame=frame, threshold=mask_threshold)
            inside = logits > np.float32(mask_threshold)
            packed.append(PackedMask.pack(inside, top=rows.start, left=columns.start))
        return cls((frame.height_px, frame.width_px), tuple(packed))

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape of the unpacked array: N, H and W."""
        return (len(self.packed), *self.image_size)

    @property
    def ndim(self) -> int:
        """The number of axes of the unpacked array."""
        return 3

    @property
    def dtype(self) -> np.dtype[np.bool_]:
        """The dtype of the unpacked array."""
        return np.dtype(bool)

    @property
    def nbytes(self) -> int:
        """The memory of the packed masks, in bytes."""
        return sum(each.bits.nbytes for each in self.packed)

    @property
    def areas(self) -> NDArray[np.int64]:
        """The number of pixels of each mask, int64 [N]."""
        return np.array([each.area for each in self.packed], dtype=np.int64)

    @property
    def boxes(self) -> NDArray[np.float32]:
        """The tight box of each mask, float32 [N,4], XYXY; zeros for an empty one."""
        boxes = np.array([each.box for each in self.packed], dtype=np.float32)
        return boxes.reshape(-1, 4)

    def __len__(self) -> int:
        return len(self.packed)

    def __iter__(self) -> Iterator[NDArray[np.bool_]]:
        return (self[index] for index in range(len(self)))

    @overload
    def __getitem__(self, index: slice | list[int] | NDArray[np.generic]) -> PackedMasks: ...
    @overload
    def __getitem__(self, index: tuple[Any, ...] | EllipsisType | None) -> Any: ...
    @overload
    def __getitem__(self, index: int | np.integer[Any]) -> NDArray[np.bool_]: ...
    def __getitem__(
        self,
        index: int
        | np.integer[Any]
        | slice
        | list[int]
        | NDArray[np.generic]
        | tuple[Any, ...]
        | EllipsisType
        | None,
    ) -> Any:
        if not _is_of_masks(index):
            return np.asarray(self)[index]
        if isinstance(index, tuple):
            part = self[index[0]]
            some = (slice(None),) if isinstance(part, PackedMasks) else ()
            return np.asarray(part)[some + index[1:]]
        if isinstance(index, (slice, list)) or (isinstance(index, np.ndarray) and index.ndim):
            indices = np.arange(len(self))[index].tolist()
            return PackedMasks(self.image_size, tuple(self.packed[index] for index in indices))
        packed = self.packed[operator.index(cast(SupportsIndex, index))]
        if packed.empty:
            return np.broadcast_to(np.False_, self.image_size)  # it takes no memory
        mask = np.zeros(self.image_size, dtype=bool)
        packed.draw(mask)
        mask.flags.writeable = False
        return mask

    def __array__(
        self, dtype: DTypeLike | None = None, copy: bool | None = None
    ) -> NDArray[np.generic]:
        if copy is False:
            raise ValueError("packed masks become an array by a copy only")
        masks = np.zeros(self.shape, dtype=bool)
        for each, mask in zip(self.packed, masks, strict=True):
            each.draw(mask)
        return masks if dtype is None else masks.astype(dtype, copy=False)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        if any(isinstance(each, PackedMasks) for each in options.get("out", ())):
            raise ValueError("packed masks cannot be changed: take a copy, `np.array(masks)`")
        arrays = [np.asarray(each) if isinstance(each, PackedMasks) else each for each in inputs]
        return getattr(ufunc, method)(*arrays, **options)

    def sum(self, axis: int | tuple[int, ...] | None = None, **options: Any) -> Any:
        """Sums as an array's `sum`; `axis=(1, 2)` and no axis work without unpacking."""
        if axis == (1, 2) and not options:
            return self.areas
        if axis is None and not options:
            return self.areas.sum()
        return self._array_method("sum", axis=axis, **options)

    def any(self, axis: int | tuple[int, ...] | None = None, **options: Any) -> Any:
        """Works as an array's `any`."""
        return self._array_method("any", axis=axis, **options)

    def all(self, axis: int | tuple[int, ...] | None = None, **options: Any) -> Any:
        """Works as an array's `all`."""
        return self._array_method("all", axis=axis, **options)

    def mean(self, axis: int | tuple[int, ...] | None = None, **options: Any) -> Any:
        """Works as an array's `mean`."""
        return self._array_method("mean", axis=axis, **options)

    def astype(self, dtype: DTypeLike) -> NDArray[Any]:
        """Unpacks all masks to an array of another dtype."""
        return np.asarray(self).astype(dtype)

    def _array_method(self, name: str, **options: Any) -> Any:
        return getattr(np.asarray(self), name)(**options)


def _is_of_masks(index: Any) -> bool:
    """Whether an index picks masks first, and then the same place in each of them."""
    if isinstance(index, tuple):
        plain = (isinstance(each, (int, np.integer, slice)) for each in index[1:])
        return bool(index) and all(plain) and _is_of_masks(index[0])
    if isinstance(index, (list, np.ndarray)):
        return np.ndim(index) == 1
    return not (index is None or index is Ellipsis or isinstance(index, (bool, np.bool_)))
