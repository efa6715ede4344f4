"""Classification and retrieval in miniature: labels, images and captions meet by colour."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest

from benchmarks.metrics import names as names_metrics
from benchmarks.metrics.names import ranks_of_own
from benchmarks.public.files import DatasetError, take
from benchmarks.public.whole_images import (
    CLASSIFICATION,
    RETRIEVAL,
    CaptionedImages,
    LabelledImages,
    measure_accuracy,
    measure_retrieval,
)
from samclip_sdk.errors import TextTruncatedWarning
from tests.benchmarks.measured import measure
from tests.benchmarks.public.miniatures import CAPTIONS, flickr, imagenet, karpathy
from tests.benchmarks.public.painted import (
    BLUE,
    COLOURS,
    GREEN,
    RED,
    Painted,
    paint,
    write_json,
    write_lines,
)
from tests.refusals import refused

TO_TEXT, TO_IMAGE = "image to text", "text to image"


def accuracy(data: LabelledImages) -> tuple[float | None, float | None]:
    found = measure(measure_accuracy, Painted(), data, name="set")
    assert found.rows["set", "", "top1"].n == len(data.images)
    assert found.value("set", "labels") == len(data.labels)
    return found.value("set", "top1"), found.value("set", "top5")


def test_imagenet(tmp_path: Path) -> None:
    """By hand: a and c are right, b is red's and behind green, yellow and cyan, d is blue's.

    Both score 0 for theirs, as others do, and a tie counts against the model. With red and green
    swapped, b alone is right, and c ties with two behind three.
    """
    read = CLASSIFICATION["imagenet"]
    assert accuracy(read(imagenet(tmp_path, names=[*COLOURS]))) == (0.5, 0.5)
    assert accuracy(read(imagenet(tmp_path, names=["green", "red", *[*COLOURS][2:]])))[0] == 0.25
    data = take(read(tmp_path), limit=2, source=tmp_path)
    assert [label for _, label in data.images] == [0, 1]  # of all classes


def test_of_labels_that_read_alike_the_first_wins(tmp_path: Path) -> None:
    images = ((paint(tmp_path / "a.png", RED), 1), (paint(tmp_path / "b.png", RED), 2))
    assert accuracy(LabelledImages(("green", "red", "red"), images)) == (0.5, 1)


def test_imagenet_without_names_of_its_own_takes_open_clips(tmp_path: Path) -> None:
    for index in range(1000):
        (tmp_path / f"n{index * 7:08}").mkdir()
    paint(tmp_path / "n00000007" / "a.JPEG", GREEN)
    read = CLASSIFICATION["imagenet"]
    data = read(tmp_path)
    assert data.labels == tuple(open_clip.IMAGENET_CLASSNAMES)
    assert [label for _, label in data.images] == [1]
    (tmp_path / "n00000000").rmdir()
    refused(lambda: read(tmp_path), DatasetError, "999", "classnames.txt")


def test_imagenet_v2_counts_its_folders(tmp_path: Path) -> None:
    """As text, 10 would stand before 2."""
    names = ["red", "x", "green", *"abcdfgh", "blue"]
    write_lines(tmp_path / "classnames.txt", *(f"n{i:08} {name}" for i, name in enumerate(names)))
    for index, colour in ((0, RED), (2, GREEN), (10, BLUE)):
        paint(tmp_path / str(index) / "a.jpeg", colour)
    assert accuracy(CLASSIFICATION["imagenet-v2"](tmp_path))[0] == 1


def test_places365(tmp_path: Path) -> None:
    """The second of three images is of another category."""
    names = ("/a/red_room/outdoor 0", "/g/green 1", "/b/blue_lake 2")
    write_lines(tmp_path / "categories_places365.txt", *names)
    lines = [f"Places365_val_0000000{i}.jpg {label}" for i, label in ((1, 2), (2, 0), (3, 1))]
    write_lines(tmp_path / "places365_val.txt", *lines)
    for index, colour in enumerate((BLUE, GREEN, GREEN), start=1):
        paint(tmp_path / "val_256" / f"Places365_val_0000000{index}.jpg", colour)
    data = CLASSIFICATION["places365"](tmp_path)
    assert data.labels == ("red room outdoor", "green", "blue lake")
    assert accuracy(data)[0] == pytest.approx(2 / 3, abs=1e-4)


def retrieval(data: CaptionedImages, model: Any = None) -> dict[tuple[str, str], float]:
    found = measure(measure_retrieval, model or Painted(), data, name="set")
    return {(split, metric): row.value for (_, split, metric), row in found.rows.items()}


def test_flickr30k(tmp_path: Path) -> None:
    """By hand, a tie counting against: the training image's captions are no candidates.

    Of the images, red's own caption ties with blue's, green's is first, and blue's scores 0 as
    the three others do. Of the captions, red's and green's find their images; yellow ties
    between red and green; blue's finds red first, and green ties.
    """
    read = RETRIEVAL["flickr30k"]
    found = retrieval(read(flickr(tmp_path, CAPTIONS)))
    assert found[TO_TEXT, "r1"] == pytest.approx(1 / 3, abs=1e-4)
    assert (found[TO_IMAGE, "r1"], found[TO_IMAGE, "cut"]) == (0.5, 0)
    assert found[TO_TEXT, "r5"] == found[TO_IMAGE, "r5"] == found[TO_IMAGE, "r10"] == 1
    swapped = CAPTIONS | {"r.jpg": CAPTIONS["g.jpg"], "g.jpg": CAPTIONS["r.jpg"]}
    found = retrieval(read(flickr(tmp_path, swapped)))
    assert found[TO_TEXT, "r1"] == found[TO_IMAGE, "r1"] == 0


def test_coco_of_karpathy(tmp_path: Path) -> None:
    """Of six captions the first five count."""
    content = karpathy({"a.jpg": [f"red {i}" for i in range(6)]}, filepath="val2014")
    write_json(tmp_path / "dataset_coco.json", content)
    image = paint(tmp_path / "val2014" / "a.jpg", RED)
    data = RETRIEVAL["coco-captions"](tmp_path)
    assert data.images == ((image, tuple(f"red {i}" for i in range(5))),)
    assert retrieval(data)[TO_IMAGE, "r1"] == 1


def test_captions_that_were_cut_are_counted(tmp_path: Path) -> None:
    class Short(Painted):
        def embed_text(self, texts: Any) -> Any:
            if "yellow" in texts[0]:
                warnings.warn("cut", TextTruncatedWarning, stacklevel=1)
            return super().embed_text(texts)

    found = retrieval(RETRIEVAL["flickr30k"](flickr(tmp_path, CAPTIONS)), Short())
    assert found[TO_IMAGE, "cut"] == 1


def test_ranks_in_parts_are_those_of_the_whole() -> None:
    rng = np.random.default_rng(0)
    images, captions = (rng.standard_normal((n, 4)).astype(np.float32) for n in (300, 340))
    owners = np.concatenate([np.arange(300), rng.integers(0, 300, 40)])
    scores = captions @ images.T
    expected = [int((row > row[owner]).sum()) for row, owner in zip(scores, owners, strict=True)]
    found = ranks_of_own(captions, images, asked=owners, given=np.arange(300))
    assert len(captions) > names_metrics.ROWS
    assert found.tolist() == expected
