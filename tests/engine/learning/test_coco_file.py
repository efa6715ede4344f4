"""COCO files of labelled pictures: masks as pycocotools reads them, a split, and refusals."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as pycoco

from samclip_sdk.engine.learning import read_coco
from samclip_sdk.errors import StorageError, TextError
from samclip_sdk.picture.packed_masks import PackedMask
from tests.refusals import refused

SIZE = (30, 40)
POLYGON = [5.0, 4.0, 25.0, 4.0, 25.0, 20.0, 5.0, 20.0]


def disc() -> np.ndarray:
    rows, columns = np.indices(SIZE)
    return (rows - 15) ** 2 + (columns - 20) ** 2 < 100


def rle(mask: np.ndarray, *, compressed: bool) -> dict[str, Any]:
    if compressed:
        found = pycoco.encode(np.asfortranarray(mask.astype(np.uint8)))
        return {"size": list(SIZE), "counts": found["counts"].decode()}
    flat = mask.ravel(order="F")
    edges = np.flatnonzero(np.diff(flat.astype(int))) + 1
    return {"size": list(SIZE), "counts": np.diff([0, *edges, flat.size]).tolist()}


def content(pictures: int = 1) -> dict[str, Any]:
    return {
        "images": [
            {"id": n, "file_name": f"{n}.png", "height": SIZE[0], "width": SIZE[1]}
            for n in range(pictures)
        ],
        "categories": [{"id": 3, "name": "mug"}, {"id": 8, "name": "gadget G7"}],
        "annotations": [],
    }


def write(folder: Path, stored: Any) -> Path:
    for each in stored.get("images", []):
        Image.new("RGB", SIZE[::-1]).save(folder / each["file_name"])
    (folder / "own.json").write_text(json.dumps(stored))
    return folder / "own.json"


def drawn(mask: PackedMask) -> np.ndarray:
    whole = np.zeros(SIZE, bool)
    mask.draw(whole)
    return whole


@pytest.mark.parametrize("compressed", [True, False])
def test_masks_are_those_of_pycocotools(tmp_path: Path, compressed: bool) -> None:
    stored = content()
    shapes = (rle(disc(), compressed=compressed), [POLYGON], [])
    stored["annotations"] = [
        {"image_id": 0, "category_id": 3, "bbox": [1, 2, 3, 4], "segmentation": each}
        for each in shapes
    ]
    (picture,) = read_coco(write(tmp_path, stored), images=tmp_path).pictures
    own = picture.objects["mug"]
    np.testing.assert_array_equal(drawn(own.masks[0]), disc())
    polygon = pycoco.decode(pycoco.merge(pycoco.frPyObjects([POLYGON], *SIZE))).astype(bool)
    np.testing.assert_array_equal(drawn(own.masks[1]), polygon)
    assert own.boxes == [(1, 2, 4, 6)]
    assert "gadget G7" not in picture.objects


def test_of_each_label_a_fifth_is_held_out(tmp_path: Path) -> None:
    stored = content(40)
    stored["annotations"] = [
        {"image_id": n, "category_id": 3 if n < 20 else 8, "bbox": [1, 2, 3, 4]}
        for n in [*range(21), 25]
    ]
    labelled = read_coco(write(tmp_path, stored), images=tmp_path)
    lessons, kept = labelled.split(held_out=0.2, seed=0)
    assert (kept.with_label("mug"), lessons.with_label("mug")) == (4, 16)
    assert (kept.with_label("gadget G7"), lessons.with_label("gadget G7")) == (0, 2)
    assert len(kept.pictures) == 8  # a fifth of all, with those without a label
    assert kept == labelled.split(held_out=0.2, seed=0)[1]
    assert kept != labelled.split(held_out=0.2, seed=1)[1]


def test_one_of_the_categories(tmp_path: Path) -> None:
    path = write(tmp_path, content())
    assert read_coco(path, images=tmp_path, labels=["Mug"]).labels == ("Mug",)
    refused(lambda: read_coco(path, images=tmp_path, labels=["cup"]), TextError, "cup", "G7")


def annotated(**changed: Any) -> dict[str, Any]:
    entry = {"image_id": 0, "category_id": 3, "bbox": [1, 2, 3, 4]} | changed
    return content() | {"annotations": [entry]}


@pytest.mark.parametrize(
    ("stored", "word"),
    [
        ({}, "images"),
        ({"images": 5, "categories": [], "annotations": []}, "own.json"),
        (annotated(image_id=7), "annotation 0"),
        (annotated(bbox=[1, 2, 0, 4]), "annotation 0"),
        (annotated(bbox=None), "annotation 0"),
        (annotated(segmentation=[[1, 2, 3]]), "annotation 0"),
        (annotated(segmentation={"size": [3, 4], "counts": [12]}), "annotation 0"),
        (annotated(segmentation={"size": list(SIZE), "counts": "x"}), "annotation 0"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path: Path, stored: dict[str, Any], word: str) -> None:
    (tmp_path / "0.png").touch()
    (tmp_path / "own.json").write_text(json.dumps(stored))
    refused(lambda: read_coco(tmp_path / "own.json", images=tmp_path), StorageError, word)


@pytest.mark.parametrize(
    "take_away",
    [lambda folder: (folder / "0.png").unlink(), lambda folder: (folder / "own.json").unlink()],
)
def test_a_missing_file_is_named(tmp_path: Path, take_away: Callable[[Path], None]) -> None:
    path = write(tmp_path, content())
    take_away(tmp_path)
    refused(lambda: read_coco(path, images=tmp_path), StorageError, tmp_path)
