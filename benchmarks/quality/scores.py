"""What an answer is worth: IoU of masks, of prompts, of texts, and of classes over whole sets."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Literal

import cv2
import numpy as np

from benchmarks.quality.record import PromptIou, TextToMask
from samclip_sdk import SamClip
from samclip_sdk.picture.masks import mask_to_box
from samclip_sdk.results.image_embedding import ImageEmbedding
from samclip_sdk.results.prompt_masks import Masks

HEADS: dict[Literal["clip_head", "both_heads"], bool] = {"clip_head": False, "both_heads": True}
"""Heads of one model -> whether the mask decoder refines what the CLIP head says."""


def iou(mask: np.ndarray, truth: np.ndarray) -> float:
    """Intersection over union of two masks, bool [H,W]; 0 where both are empty."""
    union = np.count_nonzero(mask | truth)
    return np.count_nonzero(mask & truth) / union if union else 0.0


class Confusion:
    """Counts over a set's pixels: how often each of C true classes was answered with each."""

    def __init__(self, classes: int) -> None:
        self._counts = np.zeros((classes, classes), np.int64)

    def add(self, answer: np.ndarray, *, truth: np.ndarray) -> None:
        """Counts one picture, int [H,W] both; a pixel whose truth is below 0 is not judged."""
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


def share_within(ranks: Sequence[int] | np.ndarray, first: int) -> float:
    """The share of ranks [N] that are among so many first ones."""
    return float(np.mean(np.asarray(ranks) < first))


def rank_of_truth(
    scores: np.ndarray, *, right: Sequence[int], passed_over: Sequence[int] = ()
) -> int:
    """How many wrong names score as high as the best right one; a tie counts against the model.

    Of scores [K], `right` are the places of right names, one or more, and `passed_over` those of
    names that are neither right nor wrong.
    """
    wrong = np.ones(len(scores), bool)
    wrong[[*right, *passed_over]] = False
    return int((scores[wrong] >= scores[list(right)].max()).sum())


def ious_of_prompts(
    model: SamClip,
    image: ImageEmbedding,
    *,
    masks: np.ndarray,
    boxes: np.ndarray,
    multimask_output: bool,
) -> tuple[list[float], list[float]]:
    """The IoU of every object, bool [N,H,W], by its tight box [N,4], and by its innermost pixel."""
    points = np.array([innermost_pixel(mask) for mask in masks], np.float32)[:, None]
    by_box = model.segment(image, boxes=boxes, multimask_output=multimask_output)
    by_point = model.segment(image, points=points, multimask_output=multimask_output)
    return best_ious(by_box, truth=masks), best_ious(by_point, truth=masks)


class PromptTally:
    """Collects, scene by scene, the IoU of each object by one box and by one point."""

    def __init__(self) -> None:
        self._ious: dict[str, list[float]] = defaultdict(list)

    def add(self, model: SamClip, image: ImageEmbedding, *, masks: np.ndarray) -> None:
        """Asks for one mask of each prompt, and for the best of three."""
        boxes = np.stack([mask_to_box(mask) for mask in masks])
        for suffix, several in (("", False), ("_best", True)):
            by_box, by_point = ious_of_prompts(
                model, image, masks=masks, boxes=boxes, multimask_output=several
            )
            self._ious["box" + suffix] += by_box
            self._ious["point" + suffix] += by_point

    def row(self, *, who: str, split: str) -> PromptIou:
        """The means over all objects so far."""
        means = {name: float(np.mean(ious)) for name, ious in self._ious.items()}
        return PromptIou(who=who, split=split, objects=len(self._ious["box"]), **means)


def innermost_pixel(mask: np.ndarray) -> tuple[int, int]:
    """The pixel (x, y) of a mask, bool [H,W], that is farthest from all that is not the mask.

    The picture's border counts as outside. The first in reading order where several are as far.
    """
    framed = np.pad(mask.astype(np.uint8), 1)
    depth = cv2.distanceTransform(framed, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
    y, x = np.unravel_index(int(depth.argmax()), depth.shape)
    return int(x), int(y)


def best_ious(result: Masks, *, truth: np.ndarray) -> list[float]:
    """The IoU of the mask that the model trusts most, for each of N prompts; truth bool [N,H,W]."""
    ious = []
    for index, mask in enumerate(truth):
        answers = np.flatnonzero(result.prompt_index == index)
        best = answers[result.scores[answers].argmax()]
        ious.append(iou(result.masks[best], mask))
    return ious


class TextTally:
    """Collects, scene by scene, the IoU of present labels, and which labels got a mask."""

    def __init__(self) -> None:
        self._scenes = 0
        self._ious: list[float] = []  # of each present label
        self._found: list[bool] = []
        self._false: list[bool] = []  # of each absent label
        self._nearest_false: list[bool] = []

    def add(self, masks: Sequence[np.ndarray], *, truth: np.ndarray) -> None:
        """Judges a mask, bool [H,W], for each present label, then for each absent one.

        An empty mask is none. The truth, bool [P,H,W], is of the present labels.
        """
        got = [bool(mask.any()) for mask in masks]
        count = len(truth)
        self._ious += [iou(mask, own) for mask, own in zip(masks[:count], truth, strict=True)]
        self._found += got[:count]
        self._false += got[count:]
        self._nearest_false += got[count : count + 1]
        self._scenes += 1

    def row(self, *, heads: str, split: str) -> TextToMask:
        """The figures over all scenes so far: labels are pooled, whichever scene they are of."""
        ious, found = np.array(self._ious), np.array(self._found, bool)
        return TextToMask(
            heads=heads,
            split=split,
            scenes=self._scenes,
            present=len(ious),
            absent=len(self._false),
            miou=float(ious.sum() / (len(ious) + sum(self._false))),
            recall=float(found.mean()),
            iou_found=float(ious[found].mean()) if found.any() else None,
            false_positive_rate=_share(self._false),
            nearest_false_positive_rate=_share(self._nearest_false),
        )


def _share(flags: list[bool]) -> float | None:
    return sum(flags) / len(flags) if flags else None
