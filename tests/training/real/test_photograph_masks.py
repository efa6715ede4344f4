"""COCO's three forms of a mask, and what is broken about others."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from samclip_sdk.image.masks import mask_to_polygons, mask_to_rle
from training.real.photograph_masks import cell_coverage, decode_mask
from training.real.records import BrokenRecord

MASK = np.zeros((40, 60), bool)
MASK[5:30, 10:20] = MASK[8:20, 40:55] = True


def decode(value: Any) -> np.ndarray:
    return decode_mask(value, height_px=40, width_px=60)


def test_every_form_gives_the_same_mask() -> None:
    runs = [0]
    for value in MASK.T.ravel():
        if value == len(runs) % 2:  # the current run is of the other kind
            runs.append(0)
        runs[-1] += 1
    plain = {"size": [40, 60], "counts": runs}
    polygons = [each.ravel().tolist() for each in mask_to_polygons(MASK)]
    for form in (mask_to_rle(MASK), plain, polygons):
        decoded = decode(form)
        assert decoded.dtype == bool
        np.testing.assert_array_equal(decoded, MASK)


def test_polygons_are_filled_as_pycocotools_does() -> None:
    polygons = [[3.5, 2.5, 30.2, 7.9, 12.1, 33.3], [40, 1, 59.5, 1, 50, 39.9]]
    expected = coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(polygons, 40, 60)))
    np.testing.assert_array_equal(decode(polygons), expected.astype(bool))


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (mask_to_rle(MASK[:, :50]), r"its size is \[40, 50\], and the image's \[40, 60\]"),
        ([[1, 2, 3, 4]], "a polygon of 4 numbers is no three points"),
        ([[1, 2, 3, 4, 5, 6, 7]], "a polygon of 7 numbers is no three points"),
        ({"size": [40, 60], "counts": [10, 20]}, "its runs do not fill the image"),
        ({"size": [40, 60], "counts": [2410, -10]}, "OverflowError"),
        ({"size": [40, 60], "counts": "0"}, "do not fill"),
        ({"size": [40, 60], "counts": "~~~"}, "damaged"),
        ({"size": [40, 60]}, "KeyError"),
        ({"counts": "0"}, "KeyError"),
        ([["a", "b", "c", "d", "e", "f"]], "Error"),
        (7, "TypeError"),
    ],
)
def test_broken_masks_say_why(value: Any, reason: str) -> None:
    with pytest.raises(BrokenRecord, match=reason) as caught:
        decode(value)
    assert caught.value.kind == "mask"


def test_coverage_is_the_mean_of_each_cell() -> None:
    mask = np.random.default_rng(0).random((48, 64)) < 0.3
    expected = mask.reshape(3, 16, 4, 16).mean(axis=(1, 3))
    np.testing.assert_array_equal(cell_coverage(mask, cell_px=16), expected.astype(np.float32))
