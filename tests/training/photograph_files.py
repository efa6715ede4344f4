"""Tiny sets of photographs in COCO's layout."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from samclip_sdk.image.masks import mask_to_box, mask_to_rle

HEIGHT, WIDTH = 96, 128


def rectangle(left: int, top: int, right: int, bottom: int) -> np.ndarray:
    """A mask bool [96,128] of a rectangle."""
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[top:bottom, left:right] = True
    return mask


def sample_image(*colour: int, height: int = HEIGHT, width: int = WIDTH) -> bytes:
    """An image file of one colour, without loss."""
    pixels = np.full((height, width, 3), colour or (90, 120, 150), np.uint8)
    return encode(pixels)


def encode(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png")
    return file.getvalue()


def annotation(category: int, mask: np.ndarray, **more: Any) -> dict[str, Any]:
    """An annotation with an RLE mask; `id` and `image_id` are `write_set`'s."""
    left, top, right, bottom = mask_to_box(mask).tolist()
    return {
        "category_id": category,
        "bbox": [left, top, right - left, bottom - top],
        "area": int(mask.sum()),
        "iscrowd": 0,
        "segmentation": mask_to_rle(mask),
        **more,
    }


def write_set(
    folder: Path,
    images: Sequence[tuple[bytes, Sequence[dict[str, Any]], dict[str, Any]]],
    *,
    categories: Sequence[str | dict[str, Any]] = ("cat", "dog"),
    info: dict[str, Any] | None = None,
) -> Path:
    """Writes a set: image i, from 1, is `i.jpg` with its annotations and more of its fields."""
    (folder / "images").mkdir(parents=True)
    image_entries, annotations = [], []
    for number, (content, found, fields) in enumerate(images, 1):
        (folder / "images" / f"{number}.jpg").write_bytes(content)
        with Image.open(io.BytesIO(content)) as image:
            size = {"width": image.width, "height": image.height}
        name = {"id": number, "file_name": f"{number}.jpg"}
        image_entries.append({**name, **size, "split": "train", **fields})
        annotations += [
            {"id": len(annotations) + index, "image_id": number, **each}
            for index, each in enumerate(found, 1)
        ]
    entries = [
        {"id": number, **({"name": each} if isinstance(each, str) else each)}
        for number, each in enumerate(categories, 1)
    ]
    content_of = {"images": image_entries, "annotations": annotations, "categories": entries}
    (folder / "instances.json").write_text(json.dumps({"info": info or {}, **content_of}))
    return folder


def change_set(folder: Path, **changes: Any) -> None:
    """Puts other values into `instances.json`, at its top."""
    path = folder / "instances.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
