"""Large pictures: where tiles lie, and which of what they and the whole picture show is one object.

Pure geometry in image pixels. A view is a tile or the whole picture. Tiles are all of one size and
overlap, so that a small object is whole in one of them, and the two parts of one that no tile holds
agree where their tiles overlap: that is how they are known to be one object.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from samclip_sdk.errors import PromptError, one_line
from samclip_sdk.picture.packed_masks import PackedMask, overlap, shared_area, union
from samclip_sdk.system.arguments import check_integer, finite_number

LEAST_OVERLAP, MOST_OVERLAP = 0.1, 0.5
"""With less overlap nothing tells whether the parts beside a seam are one object."""

TILE_OVERLAP = 0.25
"""How much neighbours share at least, if the caller does not say."""

LEAST_TILE_PX = 32
"""There is nothing to find in less."""

SAME_IOU = 0.5
"""Two masks whose IoU is above this are one object."""

CONTAINED_SHARE = 0.8
"""A mask is no object of its own if better masks cover this share of its area, or more: it is a
part of an object, or several objects taken for one."""

SEAM_SHARE = 1 / 64
"""A mask that ends as near to a tile's edge, of its side, is cut there: decoders stop short."""


@dataclass(frozen=True)
class Window:
    """A rectangle of an image.

    Attributes:
        rows: of the image.
        columns: of the image.
    """

    rows: slice
    columns: slice

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.rows.stop - self.rows.start, self.columns.stop - self.columns.start

    def of(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """This part of an image [H,W,3], not a copy."""
        return pixels[self.rows, self.columns]


@dataclass(frozen=True)
class Tiling:
    """How a picture is cut; see `SamClip.segment_text`.

    Attributes:
        tiles: (rows, columns), or the side of a tile in pixels.
        overlap: the share of a tile's side that neighbours have in common at least.

    Raises:
        PromptError: a value that cannot be.
    """

    tiles: tuple[int, int] | int
    overlap: float = TILE_OVERLAP

    def __post_init__(self) -> None:
        said = one_line(repr(self.tiles))
        if isinstance(self.tiles, (tuple, list)):
            if len(self.tiles) != 2:
                raise PromptError(f"tiles is {said}; it must be (rows, columns), or a side in px")
            for each, name in zip(self.tiles, ("rows", "columns"), strict=True):
                check_integer(each, name=f"the number of {name} in tiles", least=1)
            if math.prod(self.tiles) == 1:
                raise PromptError(f"tiles is {said}: that is the whole picture; leave it out")
        else:
            check_integer(self.tiles, name="tiles", least=LEAST_TILE_PX)
        share = finite_number(self.overlap, name="tile_overlap")
        if not LEAST_OVERLAP <= share <= MOST_OVERLAP:
            raise PromptError(
                f"tile_overlap is {share:g}; it must be from {LEAST_OVERLAP:g} to {MOST_OVERLAP:g}"
            )

    @classmethod
    def asked(cls, tiles: tuple[int, int] | int | None, *, overlap: float | None) -> Tiling | None:
        """What a caller asked for; None for the whole picture alone.

        Raises:
            PromptError: a value that cannot be, or an overlap of no tiles.
        """
        if tiles is not None:
            return cls(tiles, TILE_OVERLAP if overlap is None else overlap)
        if overlap is not None:
            raise PromptError(f"tile_overlap is {one_line(repr(overlap))}; it needs tiles")
        return None

    def place(self, height_px: int, width_px: int) -> list[Window]:
        """The tiles of an image, row by row: all of one size, and together the whole image.

        Raises:
            PromptError: they are larger than the image, or too small to show anything.
        """
        picture = f"the picture of {width_px} x {height_px} pixels"
        if isinstance(self.tiles, (tuple, list)):
            rows, columns = self.tiles
            height = _side(height_px, count=rows, overlap=self.overlap)
            width = _side(width_px, count=columns, overlap=self.overlap)
        else:
            if self.tiles >= max(height_px, width_px):
                raise PromptError(
                    f"tiles of {self.tiles} pixels are as large as {picture}, or larger: give "
                    "smaller ones, or leave tiles out"
                )
            height, width = min(self.tiles, height_px), min(self.tiles, width_px)
            rows = _count(height_px, side=height, overlap=self.overlap)
            columns = _count(width_px, side=width, overlap=self.overlap)
        # A row of tiles is as low as the picture is.
        if height < min(LEAST_TILE_PX, height_px) or width < min(LEAST_TILE_PX, width_px):
            raise PromptError(
                f"tiles is {one_line(repr(self.tiles))}: each would have {width} x {height} pixels "
                f"of {picture}; {LEAST_TILE_PX} x {LEAST_TILE_PX} are the least"
            )
        down = _spread(height_px, side=height, count=rows)
        across = _spread(width_px, side=width, count=columns)
        return [Window(rows, columns) for rows in down for columns in across]


def _side(length: int, *, count: int, overlap: float) -> int:
    """How long each of `count` ranges over 0..length is; 0 if there are more than pixels."""
    return 0 if count > length else math.ceil(length / (count - (count - 1) * overlap))


def _count(length: int, *, side: int, overlap: float) -> int:
    """As few ranges of a size over 0..length as there can be."""
    return 1 + math.ceil((length - side) / max(1, math.floor(side * (1 - overlap))))


def _spread(length: int, *, side: int, count: int) -> list[slice]:
    """`count` ranges of one size over 0..length."""
    starts = np.linspace(0, length - side, count).astype(int).tolist()
    return [slice(start, start + side) for start in starts]


@dataclass(frozen=True, eq=False)
class TileMask:
    """A mask that one view of an image shows.

    Attributes:
        mask: in the image.
        score: how good it is.
        view: where it was seen.
    """

    mask: PackedMask
    score: float
    view: Window


@dataclass(frozen=True, eq=False)
class MergedMask:
    """An object, from what the views show of it.

    Attributes:
        mask: in the image.
        score: of the sight at `place`.
        place: of the sight that shows it, or the largest part of it.
    """

    mask: PackedMask
    score: float
    place: int


def merge_tile_masks(tile_masks: Sequence[TileMask], *, size: tuple[int, int]) -> list[MergedMask]:
    """Which objects of one kind there are, by what a whole image and its tiles show of them.

    * What no tile can hold is as the whole image shows it.
    * What a tile cuts is nothing if another shows more of it, uncut; it is joined with what others
      cut, if they agree where they overlap.
    * What both a tile and the whole image show is as the tile shows it, which sees it larger.
    * Of what is left, a mask that is the same as a better one, or lies in better ones, goes. What
      was cut and not joined comes last.

    Args:
        tile_masks: of all views. Those of the whole image have a view of its size.
        size: height and width of the image.

    Returns:
        The objects, those that no tile can hold first, then the best first.
    """
    kept = [place for place, each in enumerate(tile_masks) if not each.mask.empty]
    whole = [place for place in kept if tile_masks[place].view.size == size]
    cut = [
        place
        for place in kept
        if is_cut(tile_masks[place].mask, view=tile_masks[place].view, size=size)
    ]
    taken = {*whole, *cut}
    clear = [place for place in kept if place not in taken]
    tile = next((tile_masks[place].view.size for place in kept if place not in whole), size)
    cut = [
        place
        for place in cut
        if not any(_explains(tile_masks[other].mask, part=tile_masks[place]) for other in clear)
    ]
    groups = _joined(cut, tile_masks=tile_masks)
    found = [_put_together(group, tile_masks=tile_masks) for group in groups if len(group) > 1]
    found += [_put_together([place], tile_masks=tile_masks) for place in clear]
    large, small = list[MergedMask](), list[MergedMask]()
    for each in (_put_together([place], tile_masks=tile_masks) for place in whole):
        if not _fits(each.mask, tile=tile):
            large.append(each)
        elif not any(_is_same(each.mask, finer.mask) for finer in found):
            small.append(each)
    found += small
    rest = [_put_together(group, tile_masks=tile_masks) for group in groups if len(group) == 1]
    return _distinct([*_best_first(large), *_best_first(found), *_best_first(rest)])


def is_cut(mask: PackedMask, *, view: Window, size: tuple[int, int]) -> bool:
    """Whether a mask goes on, or may, where its view ends and the image, of `size`, does not."""
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


def _best_first(found: Iterable[MergedMask]) -> list[MergedMask]:
    return sorted(found, key=lambda each: -each.score)


def _put_together(places: Sequence[int], *, tile_masks: Sequence[TileMask]) -> MergedMask:
    """One object of several tile_masks, as good as the largest of them."""
    largest = max(places, key=lambda place: tile_masks[place].mask.area)
    mask = union([tile_masks[place].mask for place in places])
    return MergedMask(mask, tile_masks[largest].score, largest)


def _joined(places: Sequence[int], *, tile_masks: Sequence[TileMask]) -> list[list[int]]:
    """Groups of parts that are one object, in the order of their first ones."""
    group = {place: [place] for place in places}
    for first, second in combinations(places, 2):
        if group[first] is not group[second] and _agree(tile_masks[first], tile_masks[second]):
            group[first] += group[second]
            for place in group[second]:
                group[place] = group[first]
    return [sorted(each) for each in {id(each): each for each in group.values()}.values()]


def _explains(mask: PackedMask, *, part: TileMask) -> bool:
    """Whether a part is what its view shows of a mask that goes on outside of it."""
    shared = shared_area(mask, part.mask)
    either = part.mask.area + _area_within(mask, part.view.rows, part.view.columns) - shared
    return shared > SAME_IOU * either


def _agree(first: TileMask, second: TileMask) -> bool:
    """Whether two parts show the same where both of their views see it."""
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


def _is_same(first: PackedMask, second: PackedMask) -> bool:
    shared = shared_area(first, second)
    return shared > SAME_IOU * (first.area + second.area - shared)


def _distinct(ranked: Sequence[MergedMask]) -> list[MergedMask]:
    """Drops what is the same as something before it, or lies in it."""
    kept: list[MergedMask] = []
    for each in ranked:
        covered = np.zeros_like(each.mask.part())
        for other in kept:
            rows = overlap(each.mask.rows, other.mask.rows)
            columns = overlap(each.mask.columns, other.mask.columns)
            if not (rows and columns):
                continue
            top, left = each.mask.rows.start, each.mask.columns.start
            covered[
                rows.start - top : rows.stop - top, columns.start - left : columns.stop - left
            ] |= other.mask.inside(rows, columns)
        inside = np.count_nonzero(covered & each.mask.part())
        if inside >= CONTAINED_SHARE * each.mask.area:
            continue
        if not any(_is_same(each.mask, other.mask) for other in kept):
            kept.append(each)
    return kept
