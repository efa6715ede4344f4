"""Text-to-mask: labels that are in a scene and labels that are not, asked together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from benchmarks.quality.object_prompts import iou
from benchmarks.quality.record import TextToMask
from training.composed.label_questions import Question
from training.composed.scenes import Scene


class Answer(Protocol):
    """What a scene was answered with, `TextMasks` for one."""

    @property
    def masks(self) -> Sequence[np.ndarray]:
        """A mask, bool [H,W], for each label that was asked; an empty one is none."""
        ...


class TextTally:
    """Collects IoUs of present labels, and which absent ones got a mask, scene by scene."""

    def __init__(self) -> None:
        self._scenes = 0
        self._ious: list[float] = []  # of each present label
        self._found: list[bool] = []
        self._false: list[bool] = []  # of each absent label
        self._nearest_false: list[bool] = []

    def add(self, result: Answer, *, question: Question, scene: Scene) -> None:
        """Judges one answer.

        Args:
            result: the masks of the present labels, then of the absent ones.
            question: what was asked.
            scene: the truth. A label's is the union of its objects.
        """
        masks = result.masks
        got = [bool(mask.any()) for mask in masks]
        count = len(question.present)
        for mask, noun in zip(masks[:count], question.present, strict=True):
            self._ious.append(iou(mask, scene.masks[scene.labels == noun].any(axis=0)))
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
