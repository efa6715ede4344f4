"""Public sets in miniature, laid out as published; a thing is where its colour is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from samclip_sdk.image.masks import mask_to_rle
from tests.benchmarks.public.painted import (
    BLACK,
    BLUE,
    GREEN,
    RED,
    YELLOW,
    paint,
    paint_indices,
    write_json,
    write_lines,
)

CAT, DOG = 17, 18
DETECTIONS = [
    {"image_id": 1, "category_id": DOG, "bbox": [2, 2, 40, 40], "score": 0.9},
    {"image_id": 2, "category_id": DOG, "bbox": [30, 30, 10, 10], "score": 0.8},
]
CAPTIONS = {"r.jpg": ["a red one"], "g.jpg": ["green", "yellow"], "b.jpg": ["some red thing"]}


def imagenet(root: Path, *, names: list[str]) -> Path:
    """Red and green in the first class, green in the second, yellow in the third."""
    write_lines(root / "classnames.txt", *(f"n0000000{i} {name}" for i, name in enumerate(names)))
    paint(root / "val" / "n00000000" / "a.JPEG", RED)
    paint(root / "val" / "n00000000" / "b.JPEG", GREEN)
    paint(root / "val" / "n00000001" / "c.JPEG", GREEN)
    paint(root / "val" / "n00000002" / "d.JPEG", YELLOW)
    return root


def karpathy(captions: dict[str, list[str]], **more: str) -> dict[str, Any]:
    return {
        "images": [
            {
                "filename": name,
                "split": "train" if name == "t.jpg" else "test",
                "sentences": [{"raw": text} for text in texts],
                **more,
            }
            for name, texts in captions.items()
        ]
    }


def flickr(root: Path, captions: dict[str, list[str]]) -> Path:
    for name, colour in (("r.jpg", RED), ("g.jpg", GREEN), ("b.jpg", BLUE)):
        paint(root / "flickr30k-images" / name, colour)
    content = karpathy(captions | {"t.jpg": ["red", "green", "blue"]})
    write_json(root / "dataset_flickr30k.json", content)
    return root


def quarters(*values: int) -> np.ndarray:
    """An 8 x 8 label map of four values in reading order."""
    return np.kron(np.array(values).reshape(2, 2), np.ones((4, 4), int))


def ade(root: Path, truth: Any, *, names: tuple[str, ...] = ("wall", "dog, hound", "sky")) -> Path:
    folder = root / "ADEChallengeData2016"
    rows = [f"{i}\t0.1\t5\t6\t0\t{name} " for i, name in enumerate(names, start=1)]
    write_lines(folder / "objectInfo150.txt", "Idx\tRatio\tTrain\tVal\tStuff\tName", *rows)
    name = "ADE_val_00000001"
    paint(folder / "images" / "validation" / f"{name}.jpg", RED, BLUE, BLACK, BLACK)
    paint_indices(folder / "annotations" / "validation" / f"{name}.png", truth)
    return root


def voc(root: Path, truth: Any, *, year: str = "VOC2012", context: bool = False) -> Path:
    """One image, with red at the top left and black elsewhere."""
    folder = root / "VOCdevkit" / year
    listing = "SegmentationContext" if context else "Segmentation"
    masks = "SegmentationClassContext" if context else "SegmentationClass"
    write_lines(folder / "ImageSets" / listing / "val.txt", "2007_000033")
    paint(folder / "JPEGImages" / "2007_000033.jpg", RED, BLACK, BLACK, BLACK)
    paint_indices(folder / masks / "2007_000033.png", truth, palette=not context)
    return root


def stuff(root: Path, truth: Any) -> Path:
    paint(root / "val2017" / "000000000139.jpg", RED, BLUE, BLACK, BLACK)
    paint_indices(root / "stuffthingmaps" / "val2017" / "000000000139.png", truth)
    return root


def coco(root: Path, *, name: str = "instances_val2017.json", **category: Any) -> Path:
    """Two images of one dog each, in a box at (2, 2) of 40 x 40 pixels."""
    images, annotations = [], []
    for index in (1, 2):
        file_name = f"00000000000{index}.jpg"
        paint(root / "val2017" / file_name, BLACK, size=(64, 48))
        images.append(
            {
                "id": index,
                "file_name": file_name,
                "coco_url": f"http://images.cocodataset.org/val2017/{file_name}",
                "width": 64,
                "height": 48,
                "not_exhaustive_category_ids": [],
                "neg_category_ids": [],
            }
        )
        annotations.append(
            {
                "id": index,
                "image_id": index,
                "category_id": DOG,
                "segmentation": [[2, 2, 42, 2, 42, 42, 2, 42]],
                "bbox": [2, 2, 40, 40],
                "area": 1600,
                "iscrowd": 0,
            }
        )
    categories = [{"id": CAT, "name": "cat", **category}, {"id": DOG, "name": "dog", **category}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    write_json(root / "annotations" / name, content)
    return root


def detected(root: Path, detections: Any = DETECTIONS) -> Path:
    return write_json(root / "boxes.json", detections)


def square(top: int, left: int, side: int = 10) -> dict[str, Any]:
    mask = np.zeros((40, 60), bool)
    mask[top : top + side, left : left + side] = True
    return mask_to_rle(mask)


def gold(root: Path, **changed: Any) -> Path:
    """An image with two phrases, one of them of nothing, and one that is not wholly marked."""
    paint(root / "images" / "sa_1.jpg", RED, BLUE, size=(60, 40))
    shared = {"file_name": "sa_1.jpg", "width": 60, "height": 40}
    images = [
        {"id": 1, "text_input": "dog", **shared},
        {"id": 2, "text_input": "zebra", **shared},
        {"id": 3, "text_input": "cat", "is_instance_exhaustive": False, **shared},
    ]
    polygon = [[0, 0, 10, 0, 10, 10, 0, 10]]
    ours = {"id": 1, "image_id": 1, "segmentation": polygon, "iscrowd": 0, **changed}
    unclear = {"id": 2, "image_id": 3, "segmentation": square(0, 0)}
    for annotator, marked in (("a", [ours, unclear]), ("b", [unclear])):
        content = {"images": images, "annotations": marked}
        write_json(root / f"gold_metaclip_merged_{annotator}_release_test.json", content)
    return root
