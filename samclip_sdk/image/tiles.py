"""Tiles of large images: where they lie, and which masks of tiles and whole image are one object.

Pure geometry in image pixels. A view is a tile or the whole image. All tiles have one size and
overlap, so that a small object is whole in one of them. If a tile cuts an object, its two parts
agree where the tiles overlap: that shows that they are one object.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from samclip_sdk.errors import PromptError, one_line
from samclip_sdk.image.packed_masks import PackedMask, are_alike, overlap, shared_area, union
from samclip_sdk.image.suppression import SAME_IOU, Packed, suppress
from samclip_sdk.system.arguments import check_integer, finite_number

MIN_OVERLAP, MAX_OVERLAP = 0.1, 0.5
"""With less overlap, the two parts at a seam cannot be recognised as one object."""

TILE_OVERLAP = 0.25
"""The default for the least share of a tile's side that neighbours have in common."""

MIN_TILE_PX = 32
"""The least side of a tile: a smaller one shows nothing."""

SEAM_SHARE = 1 / 64
"""A mask is cut if it ends within this share of a tile's side of an edge: decoders stop short."""


@dataclass(frozen=True)
class Window:
    """A rectangle of an image.

    Attributes:
        rows: the image's rows.
        columns: the image's columns.
    """

    rows: slice
    columns: slice

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the rectangle."""
        return self.rows.stop - self.rows.start, self.columns.stop - self.columns.start

    def of(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Cuts this part from an image [H,W,3], as a view."""
        return pixels[self.rows, self.columns]


@dataclass(frozen=True)
class Tiling:
    """The division of an image into tiles; see `SamClip.segment_text`.

    Attributes:
        tiles: (rows, columns), or the side of a tile in pixels.
        overlap: the least share of a tile's side that neighbours have in common.

    Raises:
        PromptError: a value is invalid.
    """

    tiles: tuple[int, int] | int
    overlap: float = TILE_OVERLAP

    def __post_init__(self) -> None:
        said = one_line(repr(self.tiles))
        if isinstance(self.tiles, (tuple, list)):
            if len(self.tiles) != 2:
                raise PromptError(f"tiles is {said}; it must be (rows, columns), or a side in px")
            for each, name in zip(self.tiles, ("rows", "columns"), strict=True):
                check_integer(each, name=f"the number of {name} in tiles", minimum=1)
            if math.prod(self.tiles) == 1:
                raise PromptError(f"tiles is {said}: that is the whole image; leave it out")
        else:
            check_integer(self.tiles, name="tiles", minimum=MIN_TILE_PX)
        share = finite_number(self.overlap, name="tile_overlap")
        if not MIN_OVERLAP <= share <= MAX_OVERLAP:
            raise PromptError(
                f"tile_overlap is {share:g}; it must be from {MIN_OVERLAP:g} to {MAX_OVERLAP:g}"
            )

    @classmethod
    def asked(cls, tiles: tuple[int, int] | int | None, *, overlap: float | None) -> Tiling | None:
        """Makes the tiling that a caller asks for; None for the whole image alone.

        Raises:
            PromptError: a value is invalid, or there is an overlap without tiles.
        """
        if tiles is not None:
            return cls(tiles, TILE_OVERLAP if overlap is None else overlap)
        if overlap is not None:
            raise PromptError(f"tile_overlap is {one_line(repr(overlap))}; it needs tiles")
        return None

    def windows(self, height_px: int, width_px: int) -> list[Window]:
        """Places the tiles of an image, row by row: all have one size and cover the whole image.

        Raises:
            PromptError: tiles are larger than the image, or too small to show anything.
        """
        image = f"the image of {width_px} x {height_px} pixels"
        if isinstance(self.tiles, (tuple, list)):
            rows, columns = self.tiles
            height = _side(height_px, count=rows, overlap=self.overlap)
            width = _side(width_px, count=columns, overlap=self.overlap)
        else:
            if self.tiles >= max(height_px, width_px):
                raise PromptError(
                    f"tiles of {self.tiles} pixels are as large as {image}, or larger: give "
                    "smaller ones, or leave tiles out"
                )
            height, width = min(self.tiles, height_px), min(self.tiles, width_px)
            rows = _count(height_px, side=height, overlap=self.overlap)
            columns = _count(width_px, side=width, overlap=self.overlap)
        # An image below the least size has tiles of its own height or width.
        if height < min(MIN_TILE_PX, height_px) or width < min(MIN_TILE_PX, width_px):
            raise PromptError(
                f"tiles is {one_line(repr(self.tiles))}: each would have {width} x {height} pixels "
                f"of {image}; at least {MIN_TILE_PX} x {MIN_TILE_PX} are needed"
            )
        down = _spread(height_px, side=height, count=rows)
        across = _spread(width_px, side=width, count=columns)
        return [Window(rows, columns) for rows in down for columns in across]


def _side(length: int, *, count: int, overlap: float) -> int:
    """The length of each of `count` ranges over 0..length; 0 if there are more than pixels."""
    return 0 if count > length else math.ceil(length / (count - (count - 1) * overlap))


def _count(length: int, *, side: int, overlap: float) -> int:
    """The least number of ranges of one size that cover 0..length."""
    return 1 + math.ceil((length - side) / max(1, math.floor(side * (1 - overlap))))


def _spread(length: int, *, side: int, count: int) -> list[slice]:
    """Spreads `count` ranges of one size over 0..length."""
    starts = np.linspace(0, length - side, count).astype(int).tolist()
    return [slice(start, start + side) for start in starts]


@dataclass(frozen=True, eq=False)
class TileMask:
    """A mask that one view of an image shows.

    Attributes:
        mask: the mask in the image.
        score: how good the mask is.
        view: the view that shows it.
    """

    mask: PackedMask
    score: float
    view: Window


def merge_tile_masks(
    tile_masks: Sequence[TileMask], *, size: tuple[int, int]
) -> dict[int, PackedMask]:
    """Merges the masks that a whole image and its tiles show of the objects of one label.

    * An object larger than a tile keeps its mask from the whole image.
    * A cut mask is dropped if another tile shows the object uncut. Cut masks are joined if they
      agree where their tiles overlap.
    * If both a tile and the whole image show an object, the tile's mask stays, which is finer.
    * Of the rest, a mask is dropped if it equals a better one or lies in better ones. Cut masks
      that were not joined come last.

    Args:
        tile_masks: the masks of all views. The whole image's view has the image's size.
        size: height and width of the image.

    Returns:
        The masks of the objects, each by the index of the tile mask that shows it, or its largest
        part: first those larger than a tile, then the others, each the best first.
    """
    kept = [index for index, each in enumerate(tile_masks) if not each.mask.empty]
    whole = [index for index in kept if tile_masks[index].view.size == size]
    cut = [
        index
        for index in kept
        if is_cut(tile_masks[index].mask, view=tile_masks[index].view, size=size)
    ]
    taken = {*whole, *cut}
    clear = [index for index in kept if index not in taken]
    tile = next((tile_masks[index].view.size for index in kept if index not in whole), size)
    cut = [
        index
        for index in cut
        if not any(_explains(tile_masks[other].mask, part=tile_masks[index]) for other in clear)
    ]
    groups = _joined(cut, tile_masks=tile_masks)
    masks = {index: tile_masks[index].mask for index in kept}
    found = []
    for group in groups:
        if len(group) > 1:
            largest = max(group, key=lambda index: tile_masks[index].mask.area)
            masks[largest] = union([tile_masks[index].mask for index in group])
            found.append(largest)
    found += clear
    large, small = list[int](), list[int]()
    for index in whole:
        if not _fits(masks[index], tile=tile):
            large.append(index)
        elif not any(are_alike(masks[index], masks[finer], iou=SAME_IOU) for finer in found):
            small.append(index)
    rest = [group[0] for group in groups if len(group) == 1]
    ranked = [
        index
        for indices in (large, [*found, *small], rest)
        for index in sorted(indices, key=lambda index: -tile_masks[index].score)
    ]
    distinct = Packed(masks)
    suppress(distinct, ranked, same_iou=SAME_IOU)
    return distinct.left


def is_cut(mask: PackedMask, *, view: Window, size: tuple[int, int]) -> bool:
    """Whether a mask may continue beyond an edge of its view inside the image of `size`."""
    for own, seen, full in (
        (mask.rows, view.rows, size[0]),
        (mask.columns, view.columns, size[1]),
    ):
        near = math.ceil((seen.stop - seen.start) * SEAM_SHARE)
        if (seen.start > 0 and own.start - seen.start < near) or (
            seen.stop < full and seen.stop - own.stop < near
        ):
            return True
    return False


def _fits(mask: PackedMask, *, tile: tuple[int, int]) -> bool:
    height, width = mask.rows.stop - mask.rows.start, mask.columns.stop - mask.columns.start
    return bool(height <= tile[0] and width <= tile[1])


def _joined(indices: Sequence[int], *, tile_masks: Sequence[TileMask]) -> list[list[int]]:
    """Groups the parts that are one object, in the order of their first parts."""
    group = {index: [index] for index in indices}
    for first, second in combinations(indices, 2):
        if group[first] is not group[second] and _agree(tile_masks[first], tile_masks[second]):
            group[first] += group[second]
            for index in group[second]:
                group[index] = group[first]
    return [sorted(each) for each in {id(each): each for each in group.values()}.values()]


def _explains(mask: PackedMask, *, part: TileMask) -> bool:
    """Whether a part equals the piece of a mask that lies inside the part's view."""
    shared = shared_area(mask, part.mask)
    either = part.mask.area + _area_within(mask, part.view.rows, part.view.columns) - shared
    return shared > SAME_IOU * either


def _agree(first: TileMask, second: TileMask) -> bool:
    """Whether two parts agree where their views overlap."""
    rows = overlap(first.view.rows, second.view.rows)
    columns = overlap(first.view.columns, second.view.columns)
    if first.view == second.view or not (rows and columns):
        return False
    shared = shared_area(first.mask, second.mask)
    either = sum(_area_within(each.mask, rows, columns) for each in (first, second)) - shared
    return shared > SAME_IOU * either


def _area_within(mask: PackedMask, rows: slice, columns: slice) -> int:
    own_rows, own_columns = overlap(mask.rows, rows), overlap(mask.columns, columns)
    if not (own_rows and own_columns):
        return 0
    return int(np.count_nonzero(mask.inside(own_rows, own_columns)))
