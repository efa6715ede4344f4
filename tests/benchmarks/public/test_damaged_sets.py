"""Sets that are laid out otherwise than published, or damaged, are refused by the file's name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.public.command import SETS
from benchmarks.public.files import DatasetError
from benchmarks.public.saco import read_saco
from tests.benchmarks.public.miniatures import (
    CAPTIONS,
    DETECTIONS,
    ade,
    coco,
    detected,
    flickr,
    gold,
    imagenet,
    quarters,
    stuff,
)
from tests.benchmarks.public.painted import RED, paint, write_json, write_lines
from tests.refusals import refused


def read(dataset: str, root: Path, **more: Any) -> Any:
    """All that a set has: labels, and truths as they are read."""
    data = SETS[dataset](root, **more)
    if hasattr(data, "read_truth"):
        for _, truth in data.images:
            data.read_truth(truth)
    return data


def with_boxes(root: Path, boxes: Any) -> Any:
    return read("coco-instances", coco(root), boxes=detected(root, boxes))


def imagenet_with_a_folder_more(root: Path) -> None:
    (imagenet(root, names=["red", "green", "blue"]) / "val" / "n00000099").mkdir()
    read("imagenet", root)


def imagenet_v2_with_a_folder_more(root: Path) -> None:
    write_lines(root / "classnames.txt", "n00000000 red")
    paint(root / "1" / "a.jpeg", RED)
    read("imagenet-v2", root)


def karpathy_without_splits(root: Path) -> None:
    write_json(flickr(root, CAPTIONS) / "dataset_flickr30k.json", {"images": [{"filename": "r"}]})
    read("flickr30k", root)


def two_subsets(root: Path) -> None:
    write_json(gold(root) / "gold_sa1b_merged_a_release_test.json", {})
    read_saco(root)


DAMAGED: list[tuple[Callable[[Path], object], tuple[str, ...]]] = [
    (imagenet_with_a_folder_more, ("classnames.txt", "n00000099")),
    (imagenet_v2_with_a_folder_more, ("0 to 0",)),
    (karpathy_without_splits, ("dataset_flickr30k.json", "images.0.split")),
    (lambda root: with_boxes(root, {"annotations": []}), ("boxes.json",)),
    (lambda root: with_boxes(root, [DETECTIONS[0] | {"bbox": [1, 2, 3]}]), ("0.bbox.3",)),
    (lambda root: with_boxes(root, [DETECTIONS[0] | {"image_id": 9}]), ("9", "18")),
    (lambda root: with_boxes(root, [DETECTIONS[0] | {"category_id": 1}]), ("boxes.json", "1")),
    (lambda root: read("ade20k", ade(root, quarters(4, 2, 3, 0))), (".png", "4")),
    (lambda root: read("coco-stuff", stuff(root, quarters(11, 170, 255, 255))), (".png", "11")),
    (lambda root: read_saco(gold(root) / "images"), ("gold_SUBSET_merged_a",)),
    (two_subsets, ("metaclip", "sa1b")),
]


@pytest.mark.parametrize(("read_damaged", "named"), DAMAGED)
def test_a_damaged_set_is_refused(
    read_damaged: Callable[[Path], object], named: tuple[str, ...], tmp_path: Path
) -> None:
    refused(lambda: read_damaged(tmp_path), DatasetError, *named)
