from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw
from pycocotools.coco import COCO

from samclip_sdk.errors import ImageError, StorageError
from samclip_sdk.results.text_masks import TextMasks
from tests.refusals import refused
from tests.results.test_results import (
    HEIGHT,
    IMAGE,
    WIDTH,
    classification,
    instances,
    masks,
    text_masks,
)


def nothing_present() -> TextMasks:
    return text_masks()[[]]


@pytest.mark.parametrize("make", [masks, text_masks, instances, nothing_present])
def test_pycocotools_loads_a_result(make: Any, tmp_path: Path) -> None:
    result = replace(make(), origin="/somewhere/dog.jpg")
    result.save(tmp_path / "a.json")
    coco = COCO(str(tmp_path / "a.json"))
    assert [each["file_name"] for each in coco.dataset["images"]] == ["dog.jpg"]
    rows = coco.loadAnns(coco.getAnnIds(imgIds=[1]))
    assert len({row["id"] for row in rows}) == len(rows) == len(result)
    for row, mask in zip(rows, result.masks, strict=True):
        np.testing.assert_array_equal(coco.annToMask(row).astype(bool), mask)
    if make in (text_masks, instances):
        named = [coco.loadCats([row["category_id"]])[0]["name"] for row in rows]
        assert named == [row["label"] for row in rows]


def test_yolo_draws_the_masks_again() -> None:
    planes = np.zeros((1, HEIGHT, WIDTH), dtype=bool)
    planes[0, 10:20, 30:50] = planes[0, 30:50, 2:12] = True  # two parts
    two = replace(text_masks()[:1], masks=planes)
    number, *shares = two.to_yolo().split()
    assert number == "1"  # the second of the four labels that were asked
    corners = np.array(shares, dtype=float).reshape(-1, 2) * (WIDTH, HEIGHT)
    # At four times the size the pixels on an outline, which Pillow draws too, are few.
    canvas = Image.new("1", (4 * WIDTH, 4 * HEIGHT))
    ImageDraw.Draw(canvas).polygon((4 * corners).ravel().tolist(), fill=1)
    drawn = np.asarray(canvas)[2::4, 2::4]
    off = (drawn != planes[0]).sum()
    assert off <= 0.03 * planes[0].sum()


def test_yolo_with_fewer_corners() -> None:
    planes = np.zeros((1, HEIGHT, WIDTH), dtype=bool)
    planes[0] = np.tri(HEIGHT, WIDTH, dtype=bool)  # a stair
    stair = replace(text_masks()[:1], masks=planes)
    assert len(stair.to_yolo(tolerance_px=2).split()) < 0.2 * len(stair.to_yolo().split())


def test_empty_masks_have_no_line_of_yolo() -> None:
    assert [line.split()[0] for line in masks().to_yolo().splitlines()] == ["0", "0"]
    assert nothing_present().to_yolo() == ""


def test_a_table_has_a_row_for_each_mask(tmp_path: Path) -> None:
    found = replace(text_masks(), origin="/somewhere/dog.jpg")
    found.save(tmp_path / "a.csv")
    dog, grass = csv.DictReader(io.StringIO((tmp_path / "a.csv").read_text(encoding="utf-8")))
    assert (dog["image"], dog["label"], grass["label"]) == ("dog.jpg", "dog", "grass")
    assert [float(dog[edge]) for edge in ("x0", "y0", "x1", "y1")] == [30, 10, 50, 20]
    assert (dog["area"], dog["score"]) == ("200", "0.8000")
    annotation = json.loads(found.to_json())["annotations"][0]
    assert dog["rle_counts"] == annotation["segmentation"]["counts"]


def test_what_was_cut_out_is_the_image_inside_the_masks() -> None:
    cut = text_masks()["dog"].cut_out(IMAGE)
    assert cut.shape == (HEIGHT, WIDTH, 4)
    np.testing.assert_array_equal(cut[..., :3], IMAGE)
    np.testing.assert_array_equal(cut[..., 3] == 255, text_masks().mask("dog"))
    assert set(np.unique(cut[..., 3])) == {0, 255}
    assert not nothing_present().cut_out(IMAGE)[..., 3].any()
    refused(lambda: text_masks().cut_out(IMAGE[:-1]), ImageError, f"{WIDTH} x {HEIGHT - 1}")
    refused(text_masks().cut_out, ImageError, "image=")


def test_a_classification_is_no_table(tmp_path: Path) -> None:
    refused(lambda: classification().save(tmp_path / "a.csv"), StorageError, ".json")
