"""Tiny sets of photographs in COCO's layout, and zips that are turned into them."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from samclip_sdk.picture.masks import mask_to_box, mask_to_rle

HEIGHT, WIDTH = 96, 128


def rectangle(left: int, top: int, right: int, bottom: int) -> np.ndarray:
    """A mask bool [96,128] of a rectangle."""
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[top:bottom, left:right] = True
    return mask


def picture(*colour: int, height: int = HEIGHT, width: int = WIDTH) -> bytes:
    """A picture file of one colour, without loss."""
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
    pictures: Sequence[tuple[bytes, Sequence[dict[str, Any]], dict[str, Any]]],
    *,
    categories: Sequence[str | dict[str, Any]] = ("cat", "dog"),
    info: dict[str, Any] | None = None,
    captions: Sequence[tuple[int, str]] = (),
) -> Path:
    """Writes a set: picture i, from 1, is `i.jpg` with its annotations and more of its fields."""
    (folder / "images").mkdir(parents=True)
    images, annotations = [], []
    for number, (content, found, fields) in enumerate(pictures, 1):
        (folder / "images" / f"{number}.jpg").write_bytes(content)
        with Image.open(io.BytesIO(content)) as image:
            size = {"width": image.width, "height": image.height}
        name = {"id": number, "file_name": f"{number}.jpg"}
        images.append({**name, **size, "split": "train", **fields})
        annotations += [
            {"id": len(annotations) + place, "image_id": number, **each}
            for place, each in enumerate(found, 1)
        ]
    entries = [
        {"id": number, **({"name": each} if isinstance(each, str) else each)}
        for number, each in enumerate(categories, 1)
    ]
    content_of = {"images": images, "annotations": annotations, "categories": entries}
    (folder / "instances.json").write_text(json.dumps({"info": info or {}, **content_of}))
    if captions:
        told = [{"image_id": image, "caption": text} for image, text in captions]
        (folder / "captions.json").write_text(json.dumps({"annotations": told}))
    return folder


def change_set(folder: Path, **changes: Any) -> None:
    """Puts other values into `instances.json`, at its top."""
    path = folder / "instances.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def write_zip(
    path: Path,
    pictures: dict[str, dict[str, Any]],
    *,
    ids: dict[str, np.ndarray] | None = None,
    licence: str = "CC0-1.0",
) -> Path:
    """A zip of pictures of one colour, as the converter reads; `ids` are uint8 [h,w] each."""
    path.parent.mkdir(parents=True, exist_ok=True)
    images = {}
    with zipfile.ZipFile(path, "w") as files:
        for name, fields in pictures.items():
            images[name] = {"w": WIDTH, "h": HEIGHT, "split": "train", "objs": [], "labels": []}
            images[name] |= fields
            files.writestr(f"img/{name}.jpg", picture())
        for name, each in (ids or {}).items():
            files.writestr(f"ids/{name}.png", encode(each))
        meta = {"info": "toys", "licence": licence, "repo": "me/toys", "images": images}
        files.writestr("meta.json", json.dumps(meta))
    return path
