"""Of shapes that show the same the best stays, whatever the shapes are."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from samclip_sdk.image.packed_masks import PackedMask
from samclip_sdk.image.suppression import Boxes, Packed, Planes, suppress


def squares(*boxes: tuple[int, int, int, int]) -> np.ndarray:
    """Masks [N,10,10] of boxes (x0, y0, x1, y1)."""
    masks = np.zeros((len(boxes), 10, 10), dtype=bool)
    for mask, (x0, y0, x1, y1) in zip(masks, boxes, strict=True):
        mask[y0:y1, x0:x1] = True
    return masks


def kept(masks: np.ndarray, *order: int) -> list[int]:
    return suppress(Planes(masks), order, same_iou=0.5)


def test_boxes_without_an_area_overlap_nothing() -> None:
    boxes = np.tile([3.0, 3, 3, 3], (2, 1))
    assert suppress(Boxes(boxes), [1, 0], same_iou=0.5) == [1, 0]
    assert suppress(Boxes(np.zeros((0, 4))), [], same_iou=0.5) == []


def test_no_more_are_kept_than_are_wanted() -> None:
    boxes = np.array([[0, 0, 9, 9], [20, 0, 29, 9], [0, 0, 9, 8], [0, 20, 9, 29]], np.float32)
    assert suppress(Boxes(boxes), range(4), same_iou=0.7) == [0, 1, 3]
    assert suppress(Boxes(boxes), range(4), same_iou=0.7, at_most=2) == [0, 1]


def test_the_better_of_two_that_overlap_stays() -> None:
    masks = squares((0, 0, 10, 6), (0, 2, 10, 8), (0, 8, 10, 10))  # IoU 0.5, then apart
    assert kept(masks, 1, 0, 2) == [1, 0, 2]
    masks = squares((0, 0, 10, 6), (0, 1, 10, 7))  # IoU 5 / 7
    assert kept(masks, 1, 0) == [1]
    assert kept(masks, 0, 1) == [0]


def test_a_part_of_a_better_one_goes_and_a_better_part_stays() -> None:
    masks = squares((0, 0, 10, 10), (0, 0, 4, 4), (9, 0, 10, 5))
    assert kept(masks, 0, 1, 2) == [0]
    assert kept(masks, 1, 0, 2) == [1, 0]
    # Four fifths inside are a part, less is none.
    assert kept(squares((0, 0, 8, 10), (4, 0, 9, 2)), 0, 1) == [0]
    assert kept(squares((0, 0, 8, 10), (5, 0, 9, 2)), 0, 1) == [0, 1]


def test_what_better_ones_cover_together_is_none_of_its_own() -> None:
    both = squares((0, 0, 5, 10), (5, 0, 10, 10), (0, 0, 10, 10))
    assert kept(both, 0, 1, 2) == [0, 1]
    assert kept(both, 2, 0, 1) == [2]


edges = st.lists(st.integers(0, 10), min_size=2, max_size=2, unique=True).map(sorted)


@given(st.lists(st.tuples(edges, edges), max_size=8), st.sampled_from([None, 0.8]))
@settings(max_examples=200, deadline=None)
def test_however_masks_are_stored_the_same_are_kept(
    drawn: list[tuple[list[int], list[int]]], share: float | None
) -> None:
    masks = squares(*((x0, y0, x1, y1) for (x0, x1), (y0, y1) in drawn))
    packed = [PackedMask.pack(each) for each in masks]
    order = range(len(masks))
    expected = suppress(Planes(masks, contained_share=share), order, same_iou=0.5)
    for labels in (None, order):
        own = Packed(packed, contained_share=share, labels=labels)
        assert suppress(own, order, same_iou=0.5) == expected
    if share is None:
        boxes = np.array([each.box for each in packed], np.float32).reshape(-1, 4)
        assert suppress(Boxes(boxes), order, same_iou=0.5) == expected
