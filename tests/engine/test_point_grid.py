"""Which points of a grid are asked, by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from samclip_sdk.engine.point_grid import PointGrid
from tests.fake_source import fake_client, sample_image


def times_asked(first_masks: np.ndarray, *, good: tuple[float, float] = (0.9, 0.8)) -> np.ndarray:
    """How often each point of a grid is asked, whose first masks are as good as [n,n,2]."""
    count = np.zeros(first_masks.shape[:2], int)
    grid = PointGrid(len(first_masks), good)
    for indices in grid.batches():
        count.flat[indices] += 1
        grid.first_masks[indices] = first_masks.reshape(-1, 2)[indices]
    return count


@pytest.mark.parametrize("side", [1, 5, 31])
def test_of_a_coarse_grid_every_point_is_asked(side: int) -> None:
    indices = np.concatenate(list(PointGrid(side, (0.9, 0.8)).batches()))
    assert indices.tolist() == list(range(side * side))


@pytest.mark.parametrize("side", [32, 33, 64, 67])
def test_where_all_is_good_every_point_is_asked_once(side: int) -> None:
    assert (times_asked(np.ones((side, side, 2))) == 1).all()
    assert (times_asked(np.zeros((side, side, 2)), good=(0, 0)) == 1).all(), "all masks are kept"


@pytest.mark.parametrize(("side", "step"), [(32, 2), (63, 2), (64, 4)])
@pytest.mark.parametrize("first_mask", [(0, 1), (1, 0)], ids=["unstable", "unlikely"])
def test_where_nothing_is_good_only_the_coarse_points_are_asked(
    side: int, step: int, first_mask: tuple[int, int]
) -> None:
    expected = np.zeros((side, side), int)
    expected[::step, ::step] = 1
    np.testing.assert_array_equal(times_asked(np.full((side, side, 2), first_mask)), expected)


def test_around_a_good_place_all_is_asked() -> None:
    first_masks = np.zeros((32, 32, 2))
    first_masks[8:21, 8:21] = 1
    count = times_asked(first_masks)
    assert (count[8:21, 8:21] == 1).all()
    assert count.sum() < 256 + 13 * 13


def test_a_model_is_asked_for_no_more(tmp_path: Path) -> None:
    model, source = fake_client(tmp_path)
    # Its masks have a stability of about 0.6, and of 0 if the offset is beyond their logits.
    for offset, points in ((1.0, 32 * 32), (6.0, 16 * 16)):
        before = source.runs("mask_decoder")
        asked = {"pred_iou_thresh": 0.7, "stability_score_thresh": 0.5}
        asked |= {"stability_score_offset": offset}
        model.segment_everything(sample_image(), **asked)
        feeds = source.sessions["mask_decoder"].feeds[before:]
        assert sum(len(feed["sparse_mask"]) for feed in feeds) == points
