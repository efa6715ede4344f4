"""How sure a label must be in a tile, and what becomes of what views show of it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from samclip_sdk.engine.tiled_labels import TileLabel, compose_tiled
from samclip_sdk.engine.views import presence_in_tile, threshold_in_tile
from samclip_sdk.picture.packed_masks import PackedMask
from samclip_sdk.picture.tiles import Tiling, Window

SIZE = (100, 200)
WHOLE = Window(slice(0, 100), slice(0, 200))
LEFT, RIGHT = Tiling((1, 2), 0.2).place(*SIZE)


@given(presence=st.floats(0, 1), threshold=st.floats(0.01, 0.99), tiles=st.integers(1, 99))
@settings(max_examples=50)
def test_a_threshold_and_a_presence_in_a_tile_agree(
    presence: float, threshold: float, tiles: int
) -> None:
    there = threshold_in_tile(threshold, tiles=tiles)
    assert threshold <= there + 1e-9 <= 1 + 1e-9
    (worth,) = presence_in_tile(np.array([presence], np.float32), tiles=tiles)
    assert 0 <= worth <= presence + 1e-6
    if abs(presence - there) > 1e-4:
        assert (worth >= threshold) == (presence >= there)


def test_the_odds_are_divided_by_the_root_of_the_tiles() -> None:
    assert threshold_in_tile(0.5, tiles=9) == pytest.approx(0.75)
    assert presence_in_tile(np.array([0.75, 0, 1], np.float32), tiles=9).tolist() == [0.5, 0, 1]
    for tiles in range(1, 65):
        assert [threshold_in_tile(each, tiles=tiles) for each in (0.0, 1.0)] == [0, 1]


def test_labels_meet_in_the_class_map_only() -> None:
    def seen(view: Window, presence: float, x0: int, x1: int) -> TileLabel:
        part = PackedMask.pack(np.ones((50, x1 - x0), dtype=bool), top=20, left=x0)
        return TileLabel(view, presence, presence / 2, np.array([[x0, 30.0]], np.float32), [part])

    dog = [seen(LEFT, 0.8, 60, 112), seen(RIGHT, 0.6, 89, 140)]  # cut at both sides of the seam
    cat = [seen(WHOLE, 0.7, 100, 190)]
    found = compose_tiled(
        [dog, [], cat],
        presence=np.array([0.8, 0.1, 0.7], np.float32),
        score_maps=np.zeros((3, 4, 4), np.float32),
        labels=["dog", "bird", "cat"],
        size=SIZE,
    )
    assert found.labels == ("dog", "cat")
    assert found.xyxy.tolist() == [[60, 20, 140, 70], [100, 20, 190, 70]]
    # The dog's parts are one, as good as the larger of them, and better than the cat.
    assert found.class_map[30, 60] == found.class_map[30, 139] == 0
    assert found.class_map[30, 140] == 2
    assert found.class_map[0, 0] == -1
    assert found.scores.tolist() == pytest.approx([0.4, 0.35])
    assert found.points[0].tolist() == [[60, 30], [89, 30]]
