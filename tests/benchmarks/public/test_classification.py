"""ImageNet, ImageNet-v2 and Places365 in miniature, classified by colour."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import open_clip
import pytest

from benchmarks.public.files import DatasetError, take
from benchmarks.public.record import Accuracy
from benchmarks.public.whole_pictures import (
    LabelledPictures,
    measure_accuracy,
    read_imagenet,
    read_imagenet_v2,
    read_places365,
)
from tests.benchmarks.public.painted import (
    BLUE,
    COLOURS,
    GREEN,
    RED,
    YELLOW,
    Painted,
    paint,
    write_lines,
)


def measure(data: LabelledPictures) -> Accuracy:
    model: Any = Painted()
    return measure_accuracy(model, data)


def imagenet(root: Path, *, names: list[str]) -> Path:
    """Red and green in the first class, green in the second, yellow in the third."""
    write_lines(root / "classnames.txt", *(f"n0000000{i} {name}" for i, name in enumerate(names)))
    paint(root / "val" / "n00000000" / "a.JPEG", RED)
    paint(root / "val" / "n00000000" / "b.JPEG", GREEN)
    paint(root / "val" / "n00000001" / "c.JPEG", GREEN)
    paint(root / "val" / "n00000002" / "d.JPEG", YELLOW)
    return root


def test_imagenet(tmp_path: Path) -> None:
    """By hand: a and c are right. b is red's, behind green, yellow and cyan, so among the first 5.

    d is blue's and scores 0 for it, behind all five others.
    """
    found = measure(read_imagenet(imagenet(tmp_path, names=[*COLOURS])))
    assert (found.top1, found.top5) == (0.5, 0.75)
    assert (found.pictures, found.labels, found.templates) == (4, 6, 2)
    assert (found.resolution_px, found.crop) == (32, "center_crop")


def test_swapped_names_change_the_figure(tmp_path: Path) -> None:
    names = ["green", "red", *[*COLOURS][2:]]
    found = measure(read_imagenet(imagenet(tmp_path, names=names)))
    assert found.top1 == 0.25  # b alone


def test_of_labels_that_read_alike_the_first_wins(tmp_path: Path) -> None:
    pictures = ((paint(tmp_path / "a.png", RED), 1), (paint(tmp_path / "b.png", RED), 2))
    found = measure(LabelledPictures(("green", "red", "red"), pictures))
    assert (found.top1, found.top5) == (0.5, 1)


def test_a_limit_takes_pictures_of_all_classes(tmp_path: Path) -> None:
    data = take(read_imagenet(imagenet(tmp_path, names=[*COLOURS])), limit=2, source=tmp_path)
    assert [label for _, label in data.pictures] == [0, 1]


def test_imagenet_without_names_of_its_own_takes_open_clips(tmp_path: Path) -> None:
    for index in range(1000):
        (tmp_path / f"n{index * 7:08}").mkdir()
    paint(tmp_path / "n00000007" / "a.JPEG", GREEN)
    data = read_imagenet(tmp_path)
    assert data.labels == tuple(open_clip.IMAGENET_CLASSNAMES)
    assert [label for _, label in data.pictures] == [1]
    (tmp_path / "n00000000").rmdir()
    with pytest.raises(DatasetError, match=r"has 999 classes, expected 1000.*classnames\.txt"):
        read_imagenet(tmp_path)


def test_a_missing_open_clip_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "open_clip", None)
    with pytest.raises(DatasetError, match="pip install open_clip_torch"):
        read_imagenet_v2(tmp_path)


def test_imagenet_v2_counts_its_folders(tmp_path: Path) -> None:
    """As text, 10 would stand before 2."""
    names = ["red", "x", "green", *"abcdfgh", "blue"]
    write_lines(tmp_path / "classnames.txt", *(f"n{i:08} {name}" for i, name in enumerate(names)))
    for index, colour in ((0, RED), (2, GREEN), (10, BLUE)):
        paint(tmp_path / str(index) / "a.jpeg", colour)
    found = measure(read_imagenet_v2(tmp_path))
    assert (found.top1, found.pictures, found.labels) == (1, 3, 11)
    paint(tmp_path / "11" / "a.jpeg", BLUE)
    with pytest.raises(DatasetError, match="does not hold the folders 0 to 10"):
        read_imagenet_v2(tmp_path)


def test_places365(tmp_path: Path) -> None:
    """The second of three pictures is of another category."""
    names = ("/a/red_room/outdoor 0", "/g/green 1", "/b/blue_lake 2")
    write_lines(tmp_path / "categories_places365.txt", *names)
    lines = [f"Places365_val_0000000{i}.jpg {label}" for i, label in ((1, 2), (2, 0), (3, 1))]
    write_lines(tmp_path / "places365_val.txt", *lines)
    for index, colour in enumerate((BLUE, GREEN, GREEN), start=1):
        paint(tmp_path / "val_256" / f"Places365_val_0000000{index}.jpg", colour)
    data = read_places365(tmp_path)
    assert data.labels == ("red room outdoor", "green", "blue lake")
    assert measure(data).top1 == pytest.approx(2 / 3)
    write_lines(tmp_path / "places365_val.txt", "Places365_val_00000001.jpg 3")
    with pytest.raises(DatasetError, match="the category 3, which has no name"):
        read_places365(tmp_path)


def test_a_folder_without_a_name_is_refused(tmp_path: Path) -> None:
    root = imagenet(tmp_path, names=[*COLOURS])
    (root / "val" / "n00000099").mkdir()
    with pytest.raises(DatasetError, match=r"classnames\.txt has no name for .*n00000099"):
        read_imagenet(root)
