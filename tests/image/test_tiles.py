"""Where tiles lie, and what is one object where they meet: on images of rectangles."""

from __future__ import annotations

import itertools
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from samclip_sdk import PromptError
from samclip_sdk.image.packed_masks import PackedMask
from samclip_sdk.image.tiles import (
    MAX_OVERLAP,
    MIN_OVERLAP,
    MIN_TILE_PX,
    TileMask,
    Tiling,
    Window,
    merge_tile_masks,
)
from tests.refusals import refused

sides = st.integers(200, 900)
shares = st.floats(MIN_OVERLAP, MAX_OVERLAP)
SIZE = (300, 400)
WHOLE = Window(slice(0, 300), slice(0, 400))
Box = tuple[int, int, int, int]


def along(tiles: list[Window], axis: str) -> list[slice]:
    ranges = {(each.start, each.stop) for each in (getattr(tile, axis) for tile in tiles)}
    return [slice(*each) for each in sorted(ranges)]


class TestPlaces:
    @given(
        height=sides,
        width=sides,
        tiles=st.one_of(
            st.tuples(st.integers(1, 5), st.integers(2, 5)), st.integers(MIN_TILE_PX, 99)
        ),
        overlap=shares,
    )
    @settings(max_examples=150)
    def test_of_any_image(
        self, height: int, width: int, tiles: tuple[int, int] | int, overlap: float
    ) -> None:
        found = Tiling(tiles, overlap).windows(height, width)
        assert len({each.size for each in found}) == 1
        covered = np.zeros((height, width), dtype=bool)
        for each in found:
            assert 0 <= each.rows.start < each.rows.stop <= height
            assert 0 <= each.columns.start < each.columns.stop <= width
            covered[each.rows, each.columns] = True
        assert covered.all()
        down, across = along(found, "rows"), along(found, "columns")
        assert len(found) == len(down) * len(across)
        for ranges in (down, across):
            for first, second in itertools.pairwise(ranges):
                side = first.stop - first.start
                # What they share is whole pixels, and so is where they begin.
                assert first.stop - second.start >= overlap * side - 1
        if isinstance(tiles, tuple):
            assert (len(down), len(across)) == tiles
        else:
            assert max(found[0].size) <= tiles

    @pytest.mark.parametrize(
        ("tiles", "overlap", "word"),
        [
            ((0, 2), 0.25, "rows in tiles is 0"),
            ((2, -1), 0.25, "columns in tiles is -1"),
            ((2, 2.0), 0.25, "columns in tiles is 2.0"),
            ((2, 2, 2), 0.25, "(2, 2, 2)"),
            ((1, 1), 0.25, "(1, 1)"),
            ("2x2", 0.25, "'2x2'"),
            (0, 0.25, "tiles is 0"),
            (True, 0.25, "tiles is True"),
            ((2, 2), 0.6, "tile_overlap is 0.6"),
            ((2, 2), 0, "tile_overlap is 0"),
            ((2, 2), float("nan"), "tile_overlap is nan"),
            (None, 0.3, "tile_overlap is 0.3"),
        ],
    )
    def test_what_cannot_be(self, tiles: Any, overlap: Any, word: str) -> None:
        refused(lambda: Tiling.asked(tiles, overlap=overlap), PromptError, word)

    @pytest.mark.parametrize(
        ("tiles", "word"),
        [
            (640, "640"),
            ((400, 900), "(400, 900)"),
            *((each, "(1") for each in ((10**9, 1), (1, 10**30), (10**400, 10**400), (10**9, 2))),
        ],
    )
    def test_what_does_not_fit_an_image(self, tiles: Any, word: str) -> None:
        for height in (480, 1):
            refused(partial(Tiling(tiles).windows, height, 640), PromptError, word)

    def test_what_is_asked(self) -> None:
        assert len(Tiling(500).windows(480, 640)) == 2
        assert len(Tiling(64).windows(1, 640)) == 13
        assert Tiling.asked(None, overlap=None) is None
        assert Tiling.asked((2, 3), overlap=None) == Tiling((2, 3), 0.25)


# --- what is one object ------------------------------------------------------------------------


def box_mask(box: Box) -> PackedMask:
    x0, y0, x1, y1 = box
    return PackedMask.pack(np.ones((y1 - y0, x1 - x0), dtype=bool), top=y0, left=x0)


def seen(box: Box, view: Window, *, score: float = 0.5) -> list[TileMask]:
    """What a view that sees everything shows of a rectangle: its part inside, if there is one."""
    x0, y0, x1, y1 = box
    x0, x1 = max(x0, view.columns.start), min(x1, view.columns.stop)
    y0, y1 = max(y0, view.rows.start), min(y1, view.rows.stop)
    return [TileMask(box_mask((x0, y0, x1, y1)), score, view)] if x0 < x1 and y0 < y1 else []


def boxes(found: dict[int, PackedMask]) -> list[Box]:
    return sorted(tuple(mask.box.astype(int).tolist()) for mask in found.values())


@st.composite
def apart(draw: st.DrawFn) -> list[Box]:
    """Rectangles that do not touch: one at most in each cell of a grid of cells of any size."""
    rows = sorted(draw(st.sets(st.integers(1, 29), min_size=1, max_size=2)))
    columns = sorted(draw(st.sets(st.integers(1, 39), min_size=1, max_size=2)))
    found = []
    for top, bottom in itertools.pairwise([0, *(10 * each for each in rows), SIZE[0]]):
        for left, right in itertools.pairwise([0, *(10 * each for each in columns), SIZE[1]]):
            if draw(st.booleans()):
                found.append((left + 2, top + 2, right - 2, bottom - 2))
    return sorted(found)


class TestMerging:
    @given(things=apart(), grid=st.tuples(st.integers(1, 4), st.integers(2, 4)), overlap=shares)
    @settings(max_examples=50)
    def test_each_thing_is_found_once_and_whole(
        self, things: list[Box], grid: tuple[int, int], overlap: float
    ) -> None:
        """By tiles that see everything; the whole image shows it too, or nothing."""
        views = Tiling(grid, overlap).windows(*SIZE)
        for all_views in (views, [WHOLE, *views]):
            tile_masks = [each for view in all_views for box in things for each in seen(box, view)]
            assert boxes(merge_tile_masks(tile_masks, size=SIZE)) == things

    def test_what_no_tile_can_hold_is_as_the_whole_image_shows_it(self) -> None:
        views = Tiling((1, 2), 0.2).windows(*SIZE)
        rough = seen((10, 10, 390, 200), WHOLE, score=0.1)
        parts = [each for view in views for each in seen((0, 0, 400, 210), view, score=0.9)]
        assert boxes(merge_tile_masks([*parts, *rough], size=SIZE)) == [(10, 10, 390, 200)]
        # Without it, the parts are the object.
        assert boxes(merge_tile_masks(parts, size=SIZE)) == [(0, 0, 400, 210)]

    def test_what_both_show_is_as_the_tile_shows_it(self) -> None:
        view = Tiling((1, 2), 0.2).windows(*SIZE)[0]
        fine, rough = seen((50, 50, 90, 90), view, score=0.3), seen((48, 48, 96, 96), WHOLE)
        found = merge_tile_masks([*rough, *fine], size=SIZE)
        assert (boxes(found), list(found)) == ([(50, 50, 90, 90)], [1])

    def test_parts_that_disagree_where_tiles_overlap_are_two(self) -> None:
        left, right = Tiling((1, 2), 0.2).windows(*SIZE)
        upper = seen((150, 10, 400, 60), left)
        lower = seen((150, 200, 300, 260), right)
        assert len(merge_tile_masks([*upper, *lower], size=SIZE)) == 2

    def test_a_part_of_a_better_one_goes_and_several_taken_for_one_too(self) -> None:
        view = Tiling((1, 2), 0.2).windows(*SIZE)[0]
        small = [each for box in ((10, 10, 30, 50), (30, 10, 50, 50)) for each in seen(box, view)]
        group = seen((10, 10, 50, 50), WHOLE, score=0.4)
        assert len(merge_tile_masks([*group, *small], size=SIZE)) == 2
        group = seen((10, 10, 50, 50), WHOLE, score=0.6)
        assert boxes(merge_tile_masks([*small, *group], size=SIZE)) == [(10, 10, 50, 50)]

    def test_what_is_cut_and_alone_comes_last(self) -> None:
        left = Tiling((1, 2), 0.2).windows(*SIZE)[0]
        half = seen((200, 10, 260, 60), left, score=0.9)
        clear = seen((10, 10, 60, 60), left, score=0.1)
        assert list(merge_tile_masks([*half, *clear], size=SIZE)) == [1, 0]
        # It is no object of its own beside the whole one, whatever its score.
        whole = seen((200, 10, 260, 60), WHOLE, score=0.1)
        assert len(merge_tile_masks([*half, *whole], size=SIZE)) == 1
