"""Annotations of many images as YOLO's folder and as a table."""

from __future__ import annotations

import csv
import json
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from samclip_sdk.annotate.other_formats import check_images, check_yolo_names, write_yolo
from samclip_sdk.annotate.remote_files import RemoteImage
from samclip_sdk.errors import StorageError
from samclip_sdk.image.masks import mask_to_rle
from tests.command import answer, fails
from tests.refusals import refused

IMAGES = Path(__file__).parents[2] / "examples" / "images"
ONNX = ("--runtime", "onnx", "--threads", "1")
LABELS = ("dog", "cat")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    images = tmp_path_factory.mktemp("images")
    (images / "sub").mkdir()
    shutil.copy(IMAGES / "dog.jpg", images / "sub" / "dog.jpg")
    shutil.copy(IMAGES / "cat.jpg", images / "cat.jpg")
    return images


def test_all_formats_tell_the_same_annotations(folder: Path, tmp_path: Path) -> None:
    asked = ("annotate", folder, *LABELS, *ONNX)
    outputs = {"coco": "found.json", "csv": "found.csv", "yolo": "found"}
    told = {
        form: answer(*asked, "--format", form, "-o", tmp_path / form / name)
        for form, name in outputs.items()
        if (tmp_path / form).mkdir() is None
    }
    coco = json.loads((tmp_path / "coco" / "found.json").read_text())
    count = len(coco["annotations"])
    assert [each["annotations"] for each in told.values()] == [count] * 3
    with (tmp_path / "csv" / "found.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    names = {each["id"]: each["file_name"] for each in coco["images"]}
    for row, each in zip(rows, coco["annotations"], strict=True):
        assert row["image"] == names[each["image_id"]]
        assert row["label"] == LABELS[each["category_id"] - 1]
        assert row["rle_counts"] == each["segmentation"]["counts"]
    found = tmp_path / "yolo" / "found"
    lines = (found / "labels" / "sub" / "dog.txt").read_text().splitlines()
    own = [each for each in coco["annotations"] if names[each["image_id"]] == "sub/dog.jpg"]
    assert [int(line.split()[0]) for line in lines] == [each["category_id"] - 1 for each in own]
    shares = np.array(lines[0].split()[1:], float)
    assert ((shares >= 0) & (shares <= 1)).all()
    assert (found / "labels" / "cat.txt").exists()
    assert (found / "data.yaml").read_text().endswith('names:\n  0: "dog"\n  1: "cat"\n')


def test_images_lie_beside_the_labels_of_yolo(folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(folder, tmp_path / "images")
    found = folder / "found"
    asked = ("annotate", folder, *LABELS, *ONNX, "--format", "yolo", "-o", found)
    assert answer(*asked, "--with-images", "link")["images"] == 2
    assert (found / "images" / "cat.jpg").resolve() == folder.resolve() / "cat.jpg"
    assert (found / "images" / "sub" / "dog.jpg").is_symlink()
    again = answer(*asked, "--with-images", "copy")
    assert (again["images"], again["resumed"]) == (2, 2), "what was laid there is no new image"
    copied = found / "images" / "sub" / "dog.jpg"
    assert not copied.is_symlink()
    assert copied.read_bytes() == (IMAGES / "dog.jpg").read_bytes()


def test_images_that_are_no_files_are_not_laid_beside_labels() -> None:
    remote = RemoteImage("s3://b/a.jpg", "a.jpg", 1, 1)
    refused(lambda: check_images([remote], form="yolo"), StorageError, "download")
    refused(lambda: check_images([], form="coco"), StorageError, "coco")


def test_rle_and_polygons_are_one_outline(tmp_path: Path) -> None:
    mask = np.zeros((40, 60), bool)
    mask[10:30, 20:50] = True
    boxes = {"bbox": [20, 10, 30, 20], "area": 600, "score": 1.0, "category_id": 1}
    square = [[20.0, 10, 20, 30, 50, 30, 50, 10]]
    for name, segmentation in (("rle", mask_to_rle(mask)), ("polygon", square)):
        entry = {"file_name": f"{name}.jpg", "width": 60, "height": 40}
        entry |= {"annotations": [{**boxes, "segmentation": segmentation}]}
        assert write_yolo(tmp_path, [entry], labels=["dog"]) == 1
    drawn = [(tmp_path / "labels" / f"{name}.txt").read_text() for name in ("rle", "polygon")]
    corners = [sorted(np.array(each.split()[1:], float).reshape(-1, 2).tolist()) for each in drawn]
    np.testing.assert_allclose(corners[0], corners[1], atol=1e-6)


def test_a_trainer_reads_every_label_back(tmp_path: Path) -> None:
    yaml = pytest.importorskip("yaml", reason="a package of other packages")
    odd = "".join(map(chr, [*range(0x100), 0xD7FF, 0xE000, 0x2028, 0xFEFF, 0xFFFF, 0x10FFFF]))
    labels = ["dog", "né à l'été", "犬", "😀", '"a\\b": #c', odd]
    write_yolo(tmp_path, [], labels=labels)
    written = (tmp_path / "data.yaml").read_bytes()
    assert yaml.safe_load(written)["names"] == dict(enumerate(labels))
    assert "😀".encode() in written


def test_images_that_yolo_cannot_tell_apart_are_refused() -> None:
    check_yolo_names(["a.jpg", "b.png", "c/a.jpg"])
    refused(lambda: check_yolo_names(["a.jpg", "a.png"]), StorageError, "a.jpg", "a.png")
    for name in ("/etc/a.jpg", "../a.jpg"):
        refused(partial(check_yolo_names, [name]), StorageError, name)


def test_an_output_of_another_format_is_refused(folder: Path, tmp_path: Path) -> None:
    asked = ("annotate", folder, "dog", "--model", "none")
    assert ".csv" in fails(*asked, "--format", "csv", "-o", tmp_path / "a.json", code=2)
    assert "--shard-size" in fails(*asked, "--format", "yolo", "--shard-size", "2", code=2)
    (tmp_path / "a").touch()
    assert "yolo" in fails(*asked, "--with-images", "link", code=2)
    assert "is a file" in fails(*asked, "--format", "yolo", "-o", tmp_path / "a")
