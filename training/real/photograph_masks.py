"""Masks of annotations in COCO's forms: compressed and plain RLE, and polygons."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from samclip_sdk.image.masks import rle_to_mask
from training.real.records import BrokenRecord

_TRIANGLE = 6  # numbers: fewer than three points fill nothing


def decode_mask(segmentation: Any, *, height_px: int, width_px: int) -> np.ndarray:
    """Decodes a segmentation of COCO's: an RLE, compressed or a list of runs, or polygons.

    Returns:
        bool [H,W].

    Raises:
        BrokenRecord: it is damaged, of another size than the image, or a polygon has fewer than
            three points.
    """
    try:
        rle = segmentation
        if not isinstance(rle, dict):
            rle = _fill(rle, height_px, width_px)
        if list(rle["size"]) != [height_px, width_px]:
            raise BrokenRecord(
                "mask", f"its size is {rle['size']}, and the image's {[height_px, width_px]}"
            )
        if isinstance(rle["counts"], list):
            if sum(rle["counts"]) != height_px * width_px:
                raise BrokenRecord("mask", "its runs do not fill the image")
            rle = coco_mask.frPyObjects(rle, height_px, width_px)
        return rle_to_mask(rle)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise BrokenRecord("mask", f"{type(error).__name__}: {error}") from error


def cell_coverage(mask: np.ndarray, *, cell_px: int) -> np.ndarray:
    """The share of each cell that a mask [H,W] covers, 0..1, exact: float32 [H/cell, W/cell]."""
    height, width = (side // cell_px for side in mask.shape)
    cells = cv2.resize(mask.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(cells)


def _fill(polygons: Any, height_px: int, width_px: int) -> dict[str, Any]:
    """The compressed RLE of all that polygons fill together."""
    for polygon in polygons:
        if len(polygon) < _TRIANGLE or len(polygon) % 2:
            raise BrokenRecord("mask", f"a polygon of {len(polygon)} numbers is no three points")
    merged: dict[str, Any] = coco_mask.merge(coco_mask.frPyObjects(polygons, height_px, width_px))
    return merged
