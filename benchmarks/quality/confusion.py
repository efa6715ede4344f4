"""Semantic segmentation as one confusion matrix over all pixels of all pictures."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np


class Confusion:
    """Counts, over a set, how often each true class was answered with each.

    Args:
        classes: C.
    """

    def __init__(self, classes: int) -> None:
        self._counts = np.zeros((classes, classes), np.int64)

    def add(self, answer: np.ndarray, *, truth: np.ndarray) -> None:
        """Counts the pixels of one picture.

        Args:
            answer: int [H,W], classes 0 to C-1.
            truth: int [H,W] likewise; a pixel below 0 is not judged.
        """
        judged = truth >= 0
        pairs = len(self._counts) * truth[judged].astype(np.int64) + answer[judged]
        counts = np.bincount(pairs, minlength=self._counts.size)
        self._counts += counts.reshape(self._counts.shape)

    def ious(self) -> list[float | None]:
        """The IoU of each class; None for one that is in no truth and no answer."""
        hits = self._counts.diagonal()
        unions = self._counts.sum(axis=0) + self._counts.sum(axis=1) - hits
        return [
            float(hit / union) if union else None for hit, union in zip(hits, unions, strict=True)
        ]

    def share_answered(self, label: int) -> float:
        """The share of the judged pixels that were answered with a class; 0 of none."""
        return float(self._counts[:, label].sum() / max(1, self._counts.sum()))


def mean_iou(ious: Iterable[float | None]) -> float:
    """The mean over the classes that have an IoU; 0 if none has."""
    known = [each for each in ious if each is not None]
    return float(np.mean(known)) if known else 0.0
