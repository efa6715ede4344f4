"""The annotations of a set as a few arrays: a million of them cost little, and forks share them."""

from __future__ import annotations

import marshal
from array import array
from collections.abc import Hashable, Mapping
from typing import Any, NamedTuple

import numpy as np


class Annotation(NamedTuple):
    """One annotation of an image.

    Attributes:
        category: index in the set's categories.
        box: float32 [4], XYXY in pixels of the image.
        area_px: of the mask, or of the box where the set does not say.
        crowd: it holds several things that nobody told apart.
        semantic: it holds all of its kind in the image.
        segmentation: COCO's, for `photograph_masks.decode_mask`; None without a mask.
    """

    category: int
    box: np.ndarray
    area_px: float
    crowd: bool
    semantic: bool
    segmentation: Any


class AnnotationTable:
    """Annotations by number, those of an image in a row.

    Entries are added one by one as their file has them, and then put in order.

    Attributes:
        starts: int64 [N+1]; the annotations of image i are those from starts[i] to starts[i+1].
        categories: int32 [M], as `Annotation.category`.
        boxes: float32 [M,4], as `Annotation.box`.
        areas_px: float32 [M], as `Annotation.area_px`.
        has_mask: bool [M], whether there is a segmentation.
        promptable: bool [M], whether it is the mask of one thing, which a prompt can ask for.
        single: bool [M], whether it is one thing, with or without a mask.
    """

    def __init__(self) -> None:
        self._keys: list[tuple[Hashable, Hashable, Any]] = []
        self._numbers = array("d")  # left, top, width, height and area
        self._flags = bytearray()
        self._packed: list[bytes] = []

    def add(self, entry: Mapping[str, Any]) -> None:
        """Adds an entry of COCO's.

        Raises:
            KeyError: a field is missing.
            TypeError, ValueError: one is of another kind.
        """
        left, top, width, height = entry["bbox"]
        self._keys.append((entry["image_id"], entry["category_id"], entry.get("id")))
        area = entry.get("area") or width * height
        self._numbers.extend((left, top, width, height, area))
        self._flags.append(
            bool(entry.get("iscrowd"))
            + 2 * bool(entry.get("semantic"))
            + 4 * bool(entry.get("single"))
        )
        segmentation = entry.get("segmentation")
        self._packed.append(marshal.dumps(segmentation) if segmentation else b"")

    def put_in_order(
        self, images: Mapping[Hashable, int], categories: Mapping[Hashable, int]
    ) -> None:
        """Puts what was added in the order of the images, whose numbers are given by their ids.

        Raises:
            ValueError: an annotation is of an image or of a category that is not there.
        """
        for image, category, own in self._keys:
            if image not in images:
                raise ValueError(f"annotation {own} is of no image: {image}")
            if category not in categories:
                raise ValueError(f"annotation {own} is of no category: {category}")
        owners = np.array([images[key] for key, _, _ in self._keys], np.int64)
        order = np.argsort(owners, kind="stable")
        counts = np.bincount(owners, minlength=len(images))
        self.starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        self.categories = np.array([categories[key] for _, key, _ in self._keys], np.int32)[order]
        numbers = np.frombuffer(self._numbers).reshape(-1, 5)[order]
        self.boxes = numbers[:, :4].astype(np.float32)
        self.boxes[:, 2:] += self.boxes[:, :2]
        self.areas_px = numbers[:, 4].astype(np.float32)
        flags = np.frombuffer(bytes(self._flags), np.uint8)[order]
        self.crowd, self.semantic = (flags & 1).astype(bool), (flags & 2).astype(bool)
        packed = [self._packed[number] for number in order]
        ends = np.cumsum([len(each) for each in packed], dtype=np.int64)
        self._bounds = np.concatenate([np.zeros(1, np.int64), ends])
        self._segmentations = b"".join(packed)
        self.has_mask = np.diff(self._bounds) > 0
        self.promptable = self.has_mask & ~self.crowd & ~self.semantic
        self.single = ~self.crowd & (~self.semantic | (flags & 4).astype(bool))
        del self._keys, self._numbers, self._flags, self._packed

    def numbers_of(self, image: int) -> np.ndarray:
        """The numbers of an image's annotations, int64 [n]."""
        return np.arange(self.starts[image], self.starts[image + 1])

    def __getitem__(self, number: int) -> Annotation:
        packed = self._segmentations[self._bounds[number] : self._bounds[number + 1]]
        return Annotation(
            category=int(self.categories[number]),
            box=self.boxes[number],
            area_px=float(self.areas_px[number]),
            crowd=bool(self.crowd[number]),
            semantic=bool(self.semantic[number]),
            segmentation=marshal.loads(packed) if packed else None,
        )
