"""Scores of cosines, and the best thresholds, by the answers of a model.

Raw cosines of one label rarely reach 0.5 and mean nothing alone. A score s = a (cos - b) is fitted
so that sigmoid(s) is the probability that a patch belongs to the label (`fit_patches`). Thresholds
are then chosen by their effect on the answers. All are pure functions of numpy arrays.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

_LEVELS = 1 / (1 + np.exp(-np.arange(-6.0, 4.25, 0.25)))  # evenly spaced as scores
_FLAT = 0.02  # smaller differences of what `choose_presence` maximises are noise at 150 scenes


@dataclass(frozen=True)
class Answer:
    """The answer of the CLIP head to one label in one image.

    Attributes:
        cosines: of the patches with any part of the image, float32 [h,w].
        coverage: the share of each patch that the label's objects cover, float32 [h,w]; all 0 if
            the label is absent.
        of: the set of the image.
    """

    cosines: np.ndarray
    coverage: np.ndarray
    of: str = ""

    @property
    def present(self) -> bool:
        """Whether the image shows the label."""
        return bool(self.coverage.any())


def fit_patches(answers: list[Answer]) -> tuple[float, float]:
    """Fits "this patch belongs to the label" to its cosine, and returns a and b of a (cos - b).

    Patches that an object covers in part are left out. All others of a set have the same weight,
    which puts the background far below zero: as a mask prompt, a map near zero makes SAM's decoder
    fill the whole image. Every set has the same weight, for any number of images.
    """
    cosines = np.concatenate([answer.cosines.ravel() for answer in answers]).astype(np.float64)
    coverage = np.concatenate([answer.coverage.ravel() for answer in answers])
    _, numbers = np.unique([answer.of for answer in answers], return_inverse=True)
    sets = np.repeat(numbers, [answer.cosines.size for answer in answers])
    sure = (coverage >= 0.5) | (coverage == 0)
    covered = (coverage[sure] >= 0.5).astype(np.float64)
    x = cosines[sure]
    theta = fit_logistic(
        np.stack([x, np.ones_like(x)], axis=1), covered, weights=_alike(sets[sure])
    )
    scale = float(max(theta[0], 1e-3))
    return scale, float(np.clip(-theta[1] / scale, -1, 1))


def choose_presence(
    odds: np.ndarray,
    present: np.ndarray,
    *,
    sets: Sequence[str] | None = None,
    max_false: float | None = None,
) -> float:
    """Chooses the threshold with the most found labels, per present label or false alarm.

    Every set has the same weight, for any number of labels. Otherwise the largest set, or the one
    with the most false alarms, would decide for all. Among thresholds that are about equally good,
    the highest is taken: the curve is flat, and a false mask is worse than a missed one.

    With `max_false`, it is the threshold that finds the most present labels while at most this
    share of the absent labels of all sets together is found. If there is none, it is 1.0, which
    finds nothing.

    The odds [N] are the probability of each label, 0 for one that no threshold can find.
    """
    # Thresholds between the odds themselves: near 1 a fixed step would be too coarse.
    levels = np.unique(odds.clip(1e-6, 1 - 1e-6))
    if max_false is not None:
        wrong = np.array([(~present & (odds >= level)).sum() for level in levels])
        few = levels[wrong <= max_false * (~present).sum()]
        return float(few[0]) if len(few) else 1.0
    weights = np.ones(len(odds)) if sets is None else _alike(np.array(sets))
    there, absent = weights * present, weights * ~present
    gains = [
        there[odds >= level].sum() / (there.sum() + absent[odds >= level].sum()) for level in levels
    ]
    as_good = np.flatnonzero(np.array(gains) >= max(gains) - _FLAT)
    return float(levels[as_good[-1]])


def choose_head_only(answers: list[Answer], *, scale: float, bias: float) -> float:
    """Chooses the threshold of upsampled score maps with the best mean IoU of present labels."""
    present = [answer for answer in answers if answer.present]
    ious = np.zeros(len(_LEVELS))
    for answer in present:
        side = (4 * answer.cosines.shape[1], 4 * answer.cosines.shape[0])
        logits = cv2.resize(scale * (answer.cosines - bias), side, interpolation=cv2.INTER_LINEAR)
        truth = cv2.resize(answer.coverage, side, interpolation=cv2.INTER_LINEAR) > 0.5
        for index, level in enumerate(_LEVELS):
            mask = logits > math.log(level / (1 - level))
            ious[index] += (mask & truth).sum() / max(1, (mask | truth).sum())
    return float(_LEVELS[int(ious.argmax())])


def _alike(sets: np.ndarray) -> np.ndarray:
    """Returns a weight for each of N rows, so that all sets [N] together weigh the same; mean 1."""
    _, indices, counts = np.unique(sets, return_inverse=True, return_counts=True)
    weights: np.ndarray = len(sets) / len(counts) / counts[indices]
    return weights


def fit_logistic(
    design: np.ndarray, y: np.ndarray, *, weights: np.ndarray, ridge: float = 1e-9
) -> np.ndarray:
    """Returns the most likely theta [F] of sigmoid(design @ theta) for odds y [N] in 0..1.

    `ridge` keeps theta finite where the odds can be told without error.
    """
    penalty = ridge * np.eye(design.shape[1])
    theta = np.zeros(design.shape[1])
    for _ in range(25):  # Newton's method; the loss is convex
        p = 1 / (1 + np.exp(-np.clip(design @ theta, -30, 30)))
        gradient = design.T @ (weights * (p - y)) + penalty @ theta
        hessian = (design * (weights * p * (1 - p))[:, None]).T @ design + penalty
        theta -= np.linalg.solve(hessian, gradient)
    return theta
