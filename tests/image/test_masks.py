from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from pycocotools import mask as coco

from samclip_sdk.image.frame import Frame
from samclip_sdk.image.masks import (
    binarize,
    mask_to_box,
    mask_to_polygons,
    mask_to_rle,
    rle_to_mask,
    without_specks,
)
from tests.refusals import refused

MASKS = hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, max_side=24))


def disk(height: int, width: int, *, x: int, y: int, radius: int) -> NDArray[np.bool_]:
    rows, columns = np.ogrid[:height, :width]
    inside: NDArray[np.bool_] = (columns - x) ** 2 + (rows - y) ** 2 <= radius**2
    return inside


# --- logits to masks ---------------------------------------------------------------------------


def test_padding_never_reaches_the_mask() -> None:
    """The image fills the top half; what the decoder says below it is cut off."""
    logits = np.full((1, 16, 16), -1.0, dtype=np.float32)
    logits[:, 10:] = 100.0
    assert not binarize(logits, frame=Frame.fit(32, 64, resolution=64)).any()


# --- boxes, RLE, polygons ----------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # theirs
@given(MASKS)
@example(np.zeros((3, 5), dtype=bool))
@example(np.ones((3, 5), dtype=bool))
def test_rle_and_box_are_those_of_pycocotools(mask: NDArray[np.bool_]) -> None:
    theirs = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    ours = mask_to_rle(mask)
    assert ours == {"size": list(theirs["size"]), "counts": theirs["counts"].decode()}
    np.testing.assert_array_equal(coco.decode(ours).astype(bool), mask)
    np.testing.assert_array_equal(rle_to_mask(theirs), mask)
    np.testing.assert_array_equal(rle_to_mask(ours), mask)
    x, y, width, height = coco.toBbox(theirs)
    np.testing.assert_array_equal(mask_to_box(mask), [x, y, x + width, y + height])


def test_rle_of_long_runs() -> None:
    """Runs of a million pixels need five digits, and differences to them have both signs."""
    mask = np.zeros((1500, 2000), dtype=bool)
    mask[:, :900] = True
    mask[:3, 1000:1002] = True
    mask[7:, 1500:] = True
    ours = mask_to_rle(mask)
    expected = coco.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()
    assert ours["counts"] == expected
    np.testing.assert_array_equal(rle_to_mask(ours), mask)


@pytest.mark.parametrize(
    ("size", "counts", "word"),
    [
        *(
            ([3, 5], counts, "counts")
            for counts in ("", "1", "P", "0" * 9, b"\x05", "o" * 30, "1Q1")
        ),
        ([3, 5], "\u00e9", "ascii"),
        # More bits than an integer has, whose sum would be that of the image all the same.
        ([3, 5], "o" * 12 + "O", "counts"),
        ([10**6, 10**6], "1", "no image"),
        ([-3, -5], "?", "no image"),
    ],
)
def test_a_damaged_rle_is_refused(size: list[int], counts: str | bytes, word: str) -> None:
    refused(lambda: rle_to_mask({"size": size, "counts": counts}), ValueError, word)


def filled(polygons: list[NDArray[np.int32]], size: tuple[int, ...]) -> NDArray[np.bool_]:
    """What pycocotools makes of them as a COCO segmentation."""
    if not polygons:
        return np.zeros(size, dtype=bool)
    runs = coco.frPyObjects([each.ravel().tolist() for each in polygons], *size)
    return np.asarray(coco.decode(coco.merge(runs)), dtype=bool)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # theirs
@given(MASKS)
@example(np.ones((3, 5), dtype=bool))
@example(np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]], dtype=bool))
@example(np.eye(5, dtype=bool))
def test_polygons_fill_the_mask_to_the_pixel(mask: NDArray[np.bool_]) -> None:
    polygons = mask_to_polygons(mask)
    np.testing.assert_array_equal(filled(polygons, mask.shape), mask)
    corners = np.concatenate([np.zeros((0, 2)), *polygons])
    if len(corners):
        low, high = corners.min(axis=0), corners.max(axis=0)
        assert [*low, *high] == mask_to_box(mask).tolist()


def test_polygons_have_corners_only_and_the_largest_comes_first() -> None:
    mask = np.zeros((20, 30), dtype=bool)
    mask[0, 0] = True
    mask[5:15, 10:25] = True
    large, small = mask_to_polygons(mask)
    assert large.dtype == np.int32
    assert sorted(map(tuple, large.tolist())) == [(10, 5), (10, 15), (25, 5), (25, 15)]
    assert sorted(map(tuple, small.tolist())) == [(0, 0), (0, 1), (1, 0), (1, 1)]


def test_simpler_polygons_stay_near_the_mask() -> None:
    mask = disk(200, 300, x=150, y=100, radius=80) & ~disk(200, 300, x=150, y=100, radius=20)
    (exact,), (simple,) = mask_to_polygons(mask), mask_to_polygons(mask, tolerance_px=2)
    assert len(simple) < len(exact) / 5
    again = filled([simple], mask.shape)
    assert (again & mask).sum() / (again | mask).sum() > 0.97
    assert not again[100, 150]
    assert len(mask_to_polygons(np.ones((2, 2), dtype=bool), tolerance_px=9)[0]) == 4


def test_specks_go_and_small_holes_are_filled() -> None:
    logits = np.full((64, 64), -3.0, np.float32)
    logits[8:40, 8:40] = 4
    logits[20:22, 20:23] = -2  # a hole of 6 pixels, of 1,018
    logits[50:53, 50:53] = 5  # a speck of 9
    logits[50:54, 8:12] = 2  # a piece of 16, and it stays
    cleaned = without_specks(logits, mask_threshold=0.0)
    wanted = np.zeros((64, 64), bool)
    wanted[8:40, 8:40] = wanted[50:54, 8:12] = True
    np.testing.assert_array_equal(cleaned > 0, wanted)
    untouched = (logits > 0) == wanted
    np.testing.assert_array_equal(cleaned[untouched], logits[untouched])
    assert logits[50, 50] == 5, "the logits that were given stay"


def test_a_large_hole_stays() -> None:
    logits = np.full((64, 64), 1.0, np.float32)
    logits[20:30, 20:30] = -1
    cleaned = without_specks(logits, mask_threshold=0.0)
    assert (cleaned[20:30, 20:30] < 0).all()


@pytest.mark.parametrize("value", [-1.0, 1.0])
def test_nothing_and_everything_stay_as_they_are(value: float) -> None:
    logits = np.full((8, 8), value, np.float32)
    np.testing.assert_array_equal(without_specks(logits, mask_threshold=0.0), logits)
