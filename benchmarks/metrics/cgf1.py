"""SA-Co's figures: is a phrase's thing there at all, and are its instances found.

A datum is an image with one phrase. `il_mcc` is the correlation of "something was found" with
"something is there" over all data. Of the data with both, instances are matched one to one by the
greatest sum of mask IoUs, and counted at IoUs of .50 to .95: `pmf1` is the F1 of the sums over
data, where the misses of data with nothing found count too. `cgf1` is 100 x pmF1 x IL_MCC.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from pycocotools import mask as coco_masks
from scipy.optimize import linear_sum_assignment

IOUS = np.linspace(0.5, 0.95, 10)

_SMALL, _TINY = 1e-4, 1e-6  # SA-Co's own, so that nothing is divided by nothing

Rle = dict[str, Any]


class Datum(NamedTuple):
    """One image with one phrase: what is there and found, and matches int [10] by IoU."""

    there: int
    found: int
    matches: np.ndarray

    @property
    def f1(self) -> float:
        """Its own F1, mean over IoUs; 1 where nothing is there and nothing found."""
        if not self.there and not self.found:
            return 1.0
        return float(_f1(self.matches, self.found - self.matches, self.there - self.matches).mean())


def judge(found: Sequence[Rle], truths: Iterable[Sequence[Rle]]) -> Datum:
    """Judges the masks of a datum by the annotator who agrees best, as COCO's RLE."""
    return max((_match(found, truth) for truth in truths), key=lambda datum: datum.f1)


def cgf1(data: Iterable[Datum]) -> dict[str, float]:
    """The figures over all data: cgf1, cgf1_50, cgf1_75, pmf1, il_mcc, il_f1, il_fpr."""
    every = list(data)
    there, found = (np.array([bool(each[index]) for each in every], bool) for index in (0, 1))
    right, false = int((there & found).sum()), int((~there & found).sum())
    missed, neither = int((there & ~found).sum()), int((~there & ~found).sum())
    sides = float(right + false) * (right + missed) * (neither + false) * (neither + missed)
    mcc = (right * neither - false * missed) / (sides**0.5 + _TINY)
    matches, wrong, lost = (np.zeros(len(IOUS), np.int64) for _ in range(3))
    for each in every:
        if each.there:
            matches += each.matches
            wrong += each.found - each.matches
            lost += each.there - each.matches
    micro = _f1(matches, wrong, lost)
    precision, recall = right / (right + false + _TINY), right / (right + missed + _TINY)
    return {
        "cgf1": 100 * float(micro.mean()) * mcc,
        "cgf1_50": 100 * float(micro[0]) * mcc,
        "cgf1_75": 100 * float(micro[5]) * mcc,
        "pmf1": float(micro.mean()),
        "il_mcc": mcc,
        "il_f1": 2 * precision * recall / (precision + recall + _TINY),
        "il_fpr": false / (false + neither + _TINY),
    }


def _match(found: Sequence[Rle], truth: Sequence[Rle]) -> Datum:
    matches = np.zeros(len(IOUS), np.int64)
    if len(found) and len(truth):
        ious = np.asarray(coco_masks.iou(list(found), list(truth), [0] * len(truth)))
        best = ious[linear_sum_assignment(-ious)]
        matches = (best[:, None] >= IOUS).sum(axis=0)
    return Datum(len(truth), len(found), matches)


def _f1(right: np.ndarray, wrong: np.ndarray, lost: np.ndarray) -> np.ndarray:
    precision, recall = right / (right + wrong + _SMALL), right / (right + lost + _SMALL)
    found: np.ndarray = 2 * precision * recall / (precision + recall + _SMALL)
    return found
