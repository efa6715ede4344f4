"""The metrics by which an artifact is accepted: answers of the whole pipeline and of eager torch.

Outputs of single graphs close to the reference do not prove that the masks are close to it. A
successful build proves nothing. So both get the same questions about the same images: the class of
each image and of each box in it, the mask of each box, and the masks of texts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

EMBEDDING_COSINE = "task/embedding_cosine"
TOP1_AGREEMENT = "task/top1_agreement"
BOX_MASK_IOU = "task/box_mask_iou"
TEXT_MASK_IOU = "task/text_mask_iou"

_FLOAT = {
    EMBEDDING_COSINE: 0.999,
    TOP1_AGREEMENT: 0.98,
    BOX_MASK_IOU: 0.98,
    TEXT_MASK_IOU: 0.97,
}
_INTEGER = {
    EMBEDDING_COSINE: 0.99,
    TOP1_AGREEMENT: 0.98,
    BOX_MASK_IOU: 0.97,
    TEXT_MASK_IOU: 0.95,
}
TASK_BOUNDS: Mapping[str, Mapping[str, float]] = {
    "fp32": _FLOAT,
    "fp16": _FLOAT,
    "bf16": _FLOAT,
    "int8": _INTEGER,
    "palette6": _INTEGER,
}
"""Precision -> metric -> the smallest accepted value. A metric is the mean over all answers, except
the embeddings' cosine, which is the minimum."""

TIE = 0.1
"""Words whose logits differ by less are equally likely: at odds of ten to eleven, rounding
decides."""


@dataclass(frozen=True)
class TaskImage:
    """An image and the questions about it.

    Attributes:
        image: uint8 RGB [H,W,3].
        boxes: float32 [n,4], XYXY in pixels, n > 0.
        labels: the labels for text-to-mask; some may be absent.
    """

    image: NDArray[np.uint8]
    boxes: NDArray[np.float32]
    labels: tuple[str, ...]

    def views(self) -> Iterator[NDArray[np.uint8]]:
        """The images to be classified: the whole image, and its crop to each box."""
        yield self.image
        for left, top, right, bottom in self.boxes.astype(int):
            yield np.ascontiguousarray(self.image[top:bottom, left:right])


@dataclass(frozen=True)
class TaskAnswers:
    """A model's answers about V views and N images, in order.

    Attributes:
        embeddings: float32 [V,E], unit length.
        logits: float32 [V,C], one for each word of the vocabulary.
        box_masks: N arrays bool [n,H,W].
        text_masks: N arrays bool [K,H,W]; the mask of an absent label is empty.
    """

    embeddings: NDArray[np.float32]
    logits: NDArray[np.float32]
    box_masks: tuple[NDArray[np.bool_], ...]
    text_masks: tuple[NDArray[np.bool_], ...]


def compare_answers(found: TaskAnswers, *, reference: TaskAnswers) -> dict[str, float]:
    """Metric of `TASK_BOUNDS` -> value; 1 if both answers are the same.

    All metrics are 0 if a number is not finite or the numbers of answers differ.
    """
    alike = found.embeddings.shape == reference.embeddings.shape and (
        found.logits.shape == reference.logits.shape
    )
    finite = np.isfinite(found.embeddings).all() and np.isfinite(found.logits).all()
    if not (alike and finite):
        return dict.fromkeys(TASK_BOUNDS["fp32"], 0.0)
    cosines = (found.embeddings * reference.embeddings).sum(axis=1)
    return {
        EMBEDDING_COSINE: min(1.0, float(cosines.min())),
        TOP1_AGREEMENT: _top1_agreement(found.logits, reference.logits),
        BOX_MASK_IOU: _mean_iou(found.box_masks, reference.box_masks),
        TEXT_MASK_IOU: _mean_iou(found.text_masks, reference.text_masks),
    }


def _top1_agreement(found: NDArray[np.float32], wanted: NDArray[np.float32]) -> float:
    """The share of views whose likeliest word is the reference's, or equally likely for it."""
    chosen = np.take_along_axis(wanted, found.argmax(axis=1)[:, None], axis=1)[:, 0]
    return float((chosen > wanted.max(axis=1) - TIE).mean())


def _mean_iou(found: Sequence[NDArray[np.bool_]], wanted: Sequence[NDArray[np.bool_]]) -> float:
    """The mean IoU of masks [K,H,W]; the IoU of two empty masks is 1."""
    ious: list[float] = []
    for masks, references in zip(found, wanted, strict=True):
        intersection = (masks & references).sum(axis=(1, 2))
        union = (masks | references).sum(axis=(1, 2))
        ious += np.where(union > 0, intersection / np.maximum(union, 1), 1.0).tolist()
    return float(np.mean(ious))
