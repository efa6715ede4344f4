"""COCO files of labelled images: masks as pycocotools reads them, a split, and refusals."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as pycoco

from samclip_sdk.engine.learning import read_coco
from samclip_sdk.errors import ImageError, StorageError, TextError
from samclip_sdk.image.masks import runs_to_rle
from samclip_sdk.image.packed_masks import PackedMask
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


def content(images: int = 1) -> dict[str, Any]:
    return {
        "images": [
            {"id": n, "file_name": f"{n}.png", "height": SIZE[0], "width": SIZE[1]}
            for n in range(images)
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
    (image,) = read_coco(write(tmp_path, stored), images=tmp_path).images
    own = image.objects["mug"]
    np.testing.assert_array_equal(drawn(own.masks[0]), disc())
    polygon = pycoco.decode(pycoco.merge(pycoco.frPyObjects([POLYGON], *SIZE))).astype(bool)
    np.testing.assert_array_equal(drawn(own.masks[1]), polygon)
    assert own.boxes == [(1, 2, 4, 6)]
    assert "gadget G7" not in image.objects


def test_any_number_of_corners_takes_little_memory(tmp_path: Path) -> None:
    height, width = SIZE
    stored = content()
    outline = [0, 0, width, 0, width, height, 0, height, *[0, 0, 0, height] * 100_000]
    stored["annotations"] = [{"image_id": 0, "category_id": 3, "segmentation": [outline]}]
    path = write(tmp_path, stored)
    tracemalloc.start()
    (image, *_) = read_coco(path, images=tmp_path).images
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert drawn(image.objects["mug"].masks[0]).all()
    assert peak < 150_000_000


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
    assert len(kept.images) == 8  # a fifth of all, with those without a label
    assert kept == labelled.split(held_out=0.2, seed=0)[1]
    assert kept != labelled.split(held_out=0.2, seed=1)[1]


def test_one_of_the_categories(tmp_path: Path) -> None:
    path = write(tmp_path, content())
    assert read_coco(path, images=tmp_path, labels=["Mug"]).labels == ("Mug",)
    refused(lambda: read_coco(path, images=tmp_path, labels=["cup"]), TextError, "cup", "G7")


def annotated(**changed: Any) -> dict[str, Any]:
    annotation = {"image_id": 0, "category_id": 3, "bbox": [1, 2, 3, 4]} | changed
    return content() | {"annotations": [annotation]}


def entry(**changed: Any) -> dict[str, Any]:
    (image,) = content()["images"]
    return content() | {"images": [image | changed]}


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
        (annotated(segmentation={"size": list(SIZE), "counts": 10**12}), "annotation 0"),
        (annotated(segmentation={"size": list(SIZE), "counts": [10**30]}), "annotation 0"),
        (annotated(segmentation={"size": [1e999, 40], "counts": "x"}), "annotation 0"),
        (annotated(segmentation=[[10**400, 2, 3, 4, 5, 6]]), "annotation 0"),
        (annotated(bbox=[10**400, 2, 3, 4]), "annotation 0"),
        (entry(height=1e999), "infinity"),
        (entry(height=10**400), "0.png"),
        (entry(height=SIZE[0] + 1), "31"),
        (entry(file_name="a" * 5000), "aaa"),
        (entry(file_name="."), "--images"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path: Path, stored: dict[str, Any], word: str) -> None:
    write(tmp_path, content())
    (tmp_path / "own.json").write_text(json.dumps(stored))
    refused(
        lambda: read_coco(tmp_path / "own.json", images=tmp_path), StorageError, "own.json", word
    )


def test_a_file_of_many_brackets_is_refused(tmp_path: Path) -> None:
    (tmp_path / "own.json").write_text("[" * 200_000)
    refused(lambda: read_coco(tmp_path / "own.json", images=tmp_path), StorageError, "own.json")


@pytest.mark.parametrize("size", [(32768, 32768), SIZE])
def test_a_lie_about_a_size_takes_no_memory(tmp_path: Path, size: tuple[int, int]) -> None:
    """The entry of an image may lie, and so may a mask that is there once more."""
    runs = runs_to_rle(np.array([1 << 30]), size=(32768, 32768))
    stored = annotated(segmentation=runs) | {
        "images": entry(height=size[0], width=size[1])["images"]
    }
    path = write(tmp_path, content())
    path.write_text(json.dumps(stored))
    tracemalloc.start()
    refused(lambda: read_coco(path, images=tmp_path), StorageError, path, 32768)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10_000_000


def test_an_image_on_its_side_is_told_when_it_is_upright(tmp_path: Path) -> None:
    path = write(tmp_path, entry(height=SIZE[1], width=SIZE[0]))
    assert read_coco(path, images=tmp_path).images[0].size == SIZE[::-1]


def test_an_image_that_is_none_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, content())
    (tmp_path / "0.png").write_text("no image")
    refused(lambda: read_coco(path, images=tmp_path), ImageError, tmp_path / "0.png")


@pytest.mark.parametrize(
    "take_away",
    [lambda folder: (folder / "0.png").unlink(), lambda folder: (folder / "own.json").unlink()],
)
def test_a_missing_file_is_named(tmp_path: Path, take_away: Callable[[Path], None]) -> None:
    path = write(tmp_path, content())
    take_away(tmp_path)
    refused(lambda: read_coco(path, images=tmp_path), StorageError, tmp_path)
