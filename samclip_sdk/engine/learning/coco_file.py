"""Reads a COCO file of labelled images: masks as polygons or RLE, and boxes."""

from __future__ import annotations

import json
import math
import os
import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samclip_sdk.errors import ImageError, StorageError, TextError, one_line
from samclip_sdk.image.limits import MAX_PIXELS
from samclip_sdk.image.loading import open_image
from samclip_sdk.image.masks import rle_to_mask, runs_to_rle
from samclip_sdk.image.packed_masks import PackedMask
from samclip_sdk.text.tokenizer import check_labels, clean_text

Box = tuple[float, float, float, float]
_EDGE_PIXELS = 1 << 20  # rows times edges that are looked at together, whatever a polygon's corners


@dataclass(frozen=True)
class Labelled:
    """What an image shows of one label.

    Attributes:
        masks: of its objects.
        boxes: XYXY in pixels, of its objects that have no mask.
    """

    masks: list[PackedMask] = field(default_factory=list)
    boxes: list[Box] = field(default_factory=list)


@dataclass(frozen=True)
class LabelledImage:
    """An image, and all of each label that is in it.

    Attributes:
        path: its file.
        size: height and width in pixels.
        objects: label -> its objects; a label that is not in the image is missing.
    """

    path: Path
    size: tuple[int, int]
    objects: Mapping[str, Labelled]


@dataclass(frozen=True)
class LabelledImages:
    """Images in which each of the labels is labelled wherever it is.

    Attributes:
        labels: the labels.
        images: the images.
    """

    labels: tuple[str, ...]
    images: Sequence[LabelledImage]

    def with_label(self, label: str) -> int:
        """The number of images that show a label."""
        return sum(label in each.objects for each in self.images)

    def split(self, *, held_out: float, seed: int) -> tuple[LabelledImages, LabelledImages]:
        """Divides the images in two: of each label a share is held out, rounded down.

        Args:
            held_out: the share.
            seed: of the order in which images are drawn.

        Returns:
            The images to learn from, and those that are held out.
        """
        order = list(self.images)
        random.Random(seed).shuffle(order)
        rarest = sorted(self.labels, key=self.with_label)
        drawn: dict[Path, bool] = {}
        for label in [*rarest, None]:  # at last, images without a label
            own = [each.path for each in order if label is None or label in each.objects]
            left = [path for path in own if path not in drawn]
            already = sum(drawn.get(path, False) for path in own)
            maximum = max(math.floor(held_out * len(own)) - already, 0)
            drawn |= {path: index < maximum for index, path in enumerate(left)}
        lessons, kept = (
            replace(self, images=[each for each in self.images if drawn[each.path] is held])
            for held in (False, True)
        )
        return lessons, kept


def read_coco(
    path: str | os.PathLike[str],
    *,
    images: str | os.PathLike[str],
    labels: Sequence[str] | None = None,
) -> LabelledImages:
    """Reads the images of a COCO file, and the masks and boxes of its categories.

    Args:
        path: the file, as pycocotools reads it. A segmentation is a list of polygons or RLE,
            compressed or not; an annotation without one counts as a box.
        images: the folder of the images; `file_name` is relative to it.
        labels: the categories to read; by default all.

    Raises:
        StorageError: the file is missing, is no such file, or an annotation in it is wrong; an
            image is missing, or has another size than its entry says.
        ImageError: an image cannot be read.
        TextError: the name of a category cannot be a label, or the file has no such category.
    """
    name, folder = one_line(path), Path(images)
    try:
        content = json.loads(Path(path).read_bytes())
        entries = {each["id"]: each for each in content["images"]}
        names = {each["id"]: str(each["name"]) for each in content["categories"]}
        annotations = list(content["annotations"])
        files = {key: folder / each["file_name"] for key, each in entries.items()}
        sizes = {key: (int(each["height"]), int(each["width"])) for key, each in entries.items()}
    except (OSError, ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        raise StorageError(
            f"{name} is no COCO file with images, categories and annotations: {one_line(error)}"
        ) from error
    names = _chosen(names, labels=labels, name=name)
    for key, file in files.items():
        _check_image(file, size=sizes[key], name=name)
    objects: dict[Any, dict[str, Labelled]] = {key: defaultdict(Labelled) for key in entries}
    for index, each in enumerate(annotations):
        try:
            if each["category_id"] not in names:
                continue
            own = objects[each["image_id"]][names[each["category_id"]]]
            _add(each, to=own, size=sizes[each["image_id"]])
        except (ValueError, TypeError, KeyError, IndexError, OverflowError) as error:
            raise StorageError(
                f"annotation {index} of {name} is wrong: {type(error).__name__} {one_line(error)}"
            ) from error
    return LabelledImages(
        tuple(names.values()),
        [LabelledImage(files[key], sizes[key], dict(objects[key])) for key in entries],
    )


def _check_image(file: Path, *, size: tuple[int, int], name: str) -> None:
    """Refuses an image that is missing, or whose entry tells another size, whichever way up.

    Masks are drawn at the entry's size, so a wrong one could take any memory.
    """
    try:
        if not file.is_file():
            raise StorageError(f"{name} names {one_line(file)}: no such file; see --images")
    except OSError as error:  # A name may be too long.
        raise StorageError(f"{name} names {one_line(file)}: {error.strerror}") from error
    try:
        with open_image(file) as image:
            width, height = image.size
    except ImageError:
        raise
    except Exception as error:  # A damaged header can raise almost anything in Pillow.
        raise ImageError(f"{one_line(file)} cannot be read: {one_line(error)}") from error
    if sorted((height, width)) != sorted(size):
        raise StorageError(
            f"{one_line(file)} is {width} x {height} pixels, its entry in {name} says "
            f"{one_line(size[1])} x {one_line(size[0])}"
        )


def _chosen(names: dict[Any, str], *, labels: Sequence[str] | None, name: str) -> dict[Any, str]:
    """The categories that are asked for."""
    if labels is not None:
        wanted = {clean_text(label): label for label in check_labels(labels)}
        known = {clean_text(each) for each in names.values()}
        for cleaned, label in wanted.items():
            if cleaned not in known:
                told = ", ".join(sorted(names.values()))
                raise TextError(f"{name} has no category {label!r}; it has {one_line(told)}")
        names = {
            key: wanted[clean_text(each)]
            for key, each in names.items()
            if clean_text(each) in wanted
        }
    check_labels(list(names.values()))
    return names


def _add(annotation: Mapping[str, Any], *, to: Labelled, size: tuple[int, int]) -> None:
    """Adds a mask or a box to the objects of a label."""
    shape = annotation.get("segmentation")
    if shape:
        mask = PackedMask.pack(_mask(shape, size=size))
        if not mask.empty:
            to.masks.append(mask)
        return
    x, y, width, height = (float(each) for each in annotation["bbox"])
    if not (math.isfinite(x + y) and 0 < width < math.inf and 0 < height < math.inf):
        raise ValueError(f"the box {annotation['bbox']} is empty")
    to.boxes.append((x, y, x + width, y + height))


def _mask(shape: Any, *, size: tuple[int, int]) -> NDArray[np.bool_]:
    """A segmentation as bool [H,W]."""
    if min(size) < 1 or size[0] * size[1] > MAX_PIXELS:
        raise ValueError(f"no image has {size[0]} x {size[1]} pixels")
    if isinstance(shape, list):
        mask = np.zeros(size, dtype=bool)
        for polygon in shape:
            mask |= _inside(polygon, size=size)
        return mask
    counts = shape["counts"]
    if isinstance(counts, list):
        shape = runs_to_rle(np.array(counts, dtype=np.int64), size=size)
    elif not isinstance(counts, str):
        raise TypeError(f"the counts are {one_line(counts)}")
    own = [int(side) for side in shape["size"]]
    if own != [*size]:  # before a mask of that size is made
        raise ValueError(f"the mask is {one_line(own)}, the image {[*size]}")
    return rle_to_mask(shape)


def _inside(polygon: Any, *, size: tuple[int, int]) -> NDArray[np.bool_]:
    """The pixels [H,W] whose centres are in a polygon, a list of x, y, x, y, ..."""
    corners = np.array(polygon, dtype=np.float64).reshape(-1, 2)
    if len(corners) < 3 or not np.isfinite(corners).all():
        raise ValueError("a polygon has three corners at least, of two numbers each")
    height, width = size
    crossings = np.zeros((height, width + 1), dtype=np.int32)
    centres = np.arange(height)[:, None] + 0.5
    edges = np.stack([corners, np.roll(corners, -1, axis=0)], axis=1)
    at_once = max(1, _EDGE_PIXELS // height)
    for start in range(0, len(edges), at_once):
        (x0, y0), (x1, y1) = edges[start : start + at_once].transpose(1, 2, 0)
        row, edge = np.nonzero((y0 <= centres) != (y1 <= centres))
        slope = (x1[edge] - x0[edge]) / (y1[edge] - y0[edge])
        crossing = x0[edge] + (row + 0.5 - y0[edge]) * slope
        column = np.clip(np.ceil(crossing - 0.5), 0, width).astype(np.int64)
        np.add.at(crossings, (row, column), 1)
    inside: NDArray[np.bool_] = crossings.cumsum(axis=1)[:, :width] % 2 == 1
    return inside
