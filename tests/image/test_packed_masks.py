"""Packed masks against the arrays that they stand for."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from samclip_sdk.image.masks import mask_to_box, mask_to_rle, rle_to_mask
from samclip_sdk.image.packed_masks import EMPTY, PackedMask, PackedMasks, shared_area, union

seeds = st.integers(0, 2**32)
sides = st.integers(1, 20)


def random_mask(seed: int, height: int, width: int) -> np.ndarray:
    """A mask with full rows and columns, gaps, or nothing."""
    generator = np.random.default_rng(seed)
    mask = generator.random((height, width)) < generator.random()
    mask |= generator.random((height, 1)) < 0.2
    mask |= generator.random((1, width)) < 0.2
    mask[:, generator.random(width) < 0.2] = False
    found: np.ndarray = mask & (generator.random() < 0.9)
    return found


@given(seed=seeds, height=sides, width=sides)
@settings(max_examples=150)
def test_a_packed_mask_is_the_mask(seed: int, height: int, width: int) -> None:
    mask = random_mask(seed, height, width)
    packed = PackedMask.pack(mask)
    canvas = np.zeros_like(mask)
    packed.draw(canvas)
    np.testing.assert_array_equal(canvas, mask)
    np.testing.assert_array_equal(packed.box, mask_to_box(mask))
    assert packed.area == mask.sum()
    assert packed.empty == (not mask.any())
    assert packed.to_rle((height, width)) == mask_to_rle(mask)


@given(seed=seeds, height=sides, width=sides, top=sides, left=sides)
@settings(max_examples=60)
def test_it_can_be_moved_into_a_larger_image(
    seed: int, height: int, width: int, top: int, left: int
) -> None:
    mask = random_mask(seed, height, width)
    large = np.zeros((height + top + 3, width + left + 2), dtype=bool)
    large[top : top + height, left : left + width] = mask
    packed = PackedMask.pack(mask).moved(top=top, left=left)
    decoded = rle_to_mask(packed.to_rle((height + top + 3, width + left + 2)))
    np.testing.assert_array_equal(decoded, large)
    again = PackedMask.pack(mask, top=top, left=left)
    assert packed.empty or (again.rows, again.columns) == (packed.rows, packed.columns)


@given(first=seeds, second=seeds, height=sides, width=sides)
@settings(max_examples=60)
def test_what_two_masks_share_and_are_together(
    first: int, second: int, height: int, width: int
) -> None:
    masks = [random_mask(each, height, width) for each in (first, second)]
    packed = [PackedMask.pack(each) for each in masks]
    assert shared_area(*packed) == (masks[0] & masks[1]).sum()
    together = PackedMasks((height, width), (union(packed),))
    np.testing.assert_array_equal(together[0], masks[0] | masks[1])


class TestPackedMasks:
    planes = np.stack([random_mask(seed, 9, 11) for seed in (3, 5, 8, 13)])

    def test_they_are_a_sequence_of_arrays(self) -> None:
        masks = PackedMasks.of(self.planes)
        assert (len(masks), masks.shape, masks.dtype) == (4, (4, 9, 11), bool)
        np.testing.assert_array_equal(np.asarray(masks), self.planes)
        np.testing.assert_array_equal(np.stack(list(masks)), self.planes)
        np.testing.assert_array_equal(masks[-1], self.planes[-1])
        np.testing.assert_array_equal(masks[np.int64(2)], self.planes[2])
        for mask in (*masks, PackedMasks((9, 11), (EMPTY,))[0]):
            assert not mask.flags.writeable
        with pytest.raises(IndexError):
            masks[4]

    def test_they_behave_as_an_array(self) -> None:
        masks, planes = PackedMasks.of(self.planes), self.planes
        for index in ((0, 3, 4), (-1, slice(2, 5)), (slice(1, 3), 4), ([0, 2], 1, 2)):
            np.testing.assert_array_equal(masks[index], planes[index])
        for index in ((), ..., (..., slice(None, None, -1)), None, (None, 2), planes):
            np.testing.assert_array_equal(masks[index], planes[index])
        for index in (([0, 1], [5, 6]), ([0, 1], [5, 6], [7, 8]), ([[0, 1]], 3), [[0, 1]], True):
            np.testing.assert_array_equal(masks[index], planes[index])
        with pytest.raises(ValueError, match="take a copy"):
            masks |= planes
        for axis in (None, 0, (1, 2)):
            for name in ("sum", "any", "all", "mean"):
                expected = getattr(planes, name)(axis=axis)
                np.testing.assert_array_equal(getattr(masks, name)(axis=axis), expected)
                np.testing.assert_array_equal(getattr(np, name)(masks, axis=axis), expected)
        for other in (masks, planes, True):
            np.testing.assert_array_equal(masks | other, planes | np.asarray(other))
            np.testing.assert_array_equal(other & masks, np.asarray(other) & planes)
        np.testing.assert_array_equal(~masks, ~planes)
        np.testing.assert_array_equal(masks.astype(np.uint8), planes.astype(np.uint8))
        np.testing.assert_array_equal(np.logical_or.reduce(masks), planes.any(axis=0))
        assert masks.boxes.tolist() == [mask_to_box(plane).tolist() for plane in planes]

    def test_some_of_them_stay_packed(self) -> None:
        masks = PackedMasks.of(self.planes)
        for some in (slice(1, 3), [2, 0], np.array([3, 1]), np.array([True, False, True, False])):
            picked = masks[some]
            assert isinstance(picked, PackedMasks)
            np.testing.assert_array_equal(np.asarray(picked), self.planes[some])

    def test_they_take_bits_and_travel(self) -> None:
        masks = PackedMasks.of(np.ones((3, 40, 80), dtype=bool))
        assert masks.nbytes == 3 * 40 * 10
        assert PackedMasks.of(masks) is masks
        travelled = pickle.loads(pickle.dumps(masks))
        np.testing.assert_array_equal(np.asarray(travelled), np.asarray(masks))
        with pytest.raises(ValueError, match="by a copy only"):
            masks.__array__(copy=False)
