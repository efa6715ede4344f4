"""Masks: IoU of one, of objects by a box and by a point, and of classes over a whole set."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import cv2
import numpy as np

from samclip_sdk import ImageEmbedding, SamClip
from samclip_sdk.image.masks import mask_to_box

PROMPTS = ("box", "point", "point_best")
"""One tight box, or one point, the innermost pixel: the single mask, and the best of three."""

OBJECT_ROW: list[tuple[str, Any]] = [
    ("owner", int),
    ("share", float),
    *((prompt, float) for prompt in PROMPTS),
]
"""An object's share of its image, and the IoU of its mask by each prompt."""

SIZES: dict[str, tuple[float, float]] = {
    "below 2 %": (0.0, 0.02),
    "2 to 10 %": (0.02, 0.1),
    "above 10 %": (0.1, 2.0),
}
"""Name -> from which share of the image on, and below which."""


def iou(mask: np.ndarray, truth: np.ndarray) -> float:
    """Intersection over union of two masks, bool [H,W]; 0 where both are empty."""
    union = np.count_nonzero(mask | truth)
    return np.count_nonzero(mask & truth) / union if union else 0.0


def judge_objects(
    owner: int, model: SamClip, image: ImageEmbedding, masks: np.ndarray
) -> Iterator[tuple[float, ...]]:
    """The rows of objects, bool [N,H,W], of one image."""
    boxes = np.stack([mask_to_box(mask) for mask in masks])
    points = np.array([innermost_pixel(mask) for mask in masks], np.float32)[:, None]
    questions = (({"boxes": boxes}, False), ({"points": points}, False), ({"points": points}, True))
    ious = []
    for asked, several in questions:
        found = model.segment(image, **asked, multimask_output=several)
        scores = found.scores.reshape(len(masks), -1)  # the masks of one prompt after another
        best = scores.argmax(axis=1) + scores.shape[1] * np.arange(len(masks))
        pairs = zip(best.tolist(), masks, strict=True)
        ious.append([iou(found.masks[index], truth) for index, truth in pairs])
    yield from zip([owner] * len(masks), masks.mean(axis=(1, 2)), *ious, strict=True)


def innermost_pixel(mask: np.ndarray) -> tuple[int, int]:
    """The pixel (x, y) of a mask, bool [H,W], that is farthest from all that is not the mask.

    The image's border counts as outside. The first in reading order where several are as far.
    """
    framed = np.pad(mask.astype(np.uint8), 1)
    depth = cv2.distanceTransform(framed, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
    y, x = np.unravel_index(int(depth.argmax()), depth.shape)
    return int(x), int(y)


class Confusion:
    """Counts over a set's pixels: how often each of C true classes was answered with each."""

    def __init__(self, classes: int) -> None:
        self._counts = np.zeros((classes, classes), np.int64)

    def add(self, answer: np.ndarray, *, truth: np.ndarray) -> None:
        """Counts one image, int [H,W] both; a pixel whose truth is below 0 is not judged."""
        judged = truth >= 0
        pairs = len(self._counts) * truth[judged].astype(np.int64) + answer[judged]
        counts = np.bincount(pairs, minlength=self._counts.size)
        self._counts += counts.reshape(self._counts.shape)

    def ious(self) -> list[float | None]:
        """The IoU of each class; None for one that is in no truth and no answer."""
        hits = self._counts.diagonal()
        unions = self._counts.sum(axis=0) + self._counts.sum(axis=1) - hits
        pairs = zip(hits, unions, strict=True)
        return [float(hit / union) if union else None for hit, union in pairs]

    def share_answered(self, label: int) -> float:
        """The share of the judged pixels that were answered with a class; 0 of none."""
        return float(self._counts[:, label].sum() / max(1, self._counts.sum()))


def mean_iou(ious: Iterable[float | None]) -> float:
    """The mean over the classes that have an IoU; 0 if none has."""
    known = [each for each in ious if each is not None]
    return float(np.mean(known)) if known else 0.0
