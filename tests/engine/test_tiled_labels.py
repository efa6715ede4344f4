"""How sure a label must be in a tile, and what becomes of what views show of it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from samclip_sdk.engine.views import presence_in_tile, threshold_in_tile
from samclip_sdk.image.tiles import Tiling, Window

SIZE = (100, 200)
WHOLE = Window(slice(0, 100), slice(0, 200))
LEFT, RIGHT = Tiling((1, 2), 0.2).windows(*SIZE)


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
