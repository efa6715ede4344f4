"""How cosines become scores, and which thresholds are best, by what a model answered.

Raw cosines of one label rarely reach 0.5 and mean nothing alone. A score s = a (cos - b) is fitted
so that sigmoid(s) tells how likely a patch belongs to the label (`fit_patches`) or, where nobody
knows which patches do, how likely a picture shows it (`fit_peaks`). Thresholds are then chosen by
what they do to answers. Pure functions of numpy arrays.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

_LEVELS = 1 / (1 + np.exp(-np.arange(-6.0, 4.25, 0.25)))  # evenly spaced as scores
_FLAT = 0.02  # differences of what `choose_presence` maximises that 150 scenes cannot tell


@dataclass(frozen=True)
class Answer:
    """What the CLIP head says of one label in one picture.

    cosines float32 [h,w], of the patches that hold any of the picture; coverage float32 [h,w], the
    share of each patch that the label's objects cover, all 0 if it is absent; of, the set that the
    picture is of.
    """

    cosines: np.ndarray
    coverage: np.ndarray
    of: str = ""

    @property
    def present(self) -> bool:
        """Whether the picture shows the label."""
        return bool(self.coverage.any())


def fit_patches(answers: list[Answer]) -> tuple[float, float]:
    """Logistic regression of "this patch is the label's" on its cosine: a and b of a (cos - b).

    Patches that an object covers in part teach nothing. All others of a set count alike, which puts
    the background far below zero: as a mask prompt, a map that hovers around zero makes SAM's
    decoder flood the picture. Every set weighs alike, however many pictures it has.
    """
    cosines = np.concatenate([answer.cosines.ravel() for answer in answers]).astype(np.float64)
    coverage = np.concatenate([answer.coverage.ravel() for answer in answers])
    _, numbers = np.unique([answer.of for answer in answers], return_inverse=True)
    sets = np.repeat(numbers, [answer.cosines.size for answer in answers])
    sure = (coverage >= 0.5) | (coverage == 0)
    covered = (coverage[sure] >= 0.5).astype(np.float64)
    return _fit(cosines[sure], covered, weights=_alike(sets[sure]))


def fit_peaks(peaks: np.ndarray, present: np.ndarray) -> tuple[float, float]:
    """Logistic regression of "this picture shows the label" on the label's highest cosine.

    The targets are Platt's: one answer more on each side keeps a and b finite, although a threshold
    may part present labels from absent ones without a fault.

    Args:
        peaks: cosines [N].
        present: bool [N], with both kinds in it.
    """
    yes, no = int(present.sum()), int((~present).sum())
    targets = np.where(present, (yes + 1) / (yes + 2), 1 / (no + 2))
    return _fit(peaks.astype(np.float64), targets, weights=np.ones(len(peaks)))


def choose_presence(
    odds: np.ndarray,
    present: np.ndarray,
    *,
    sets: Sequence[str] | None = None,
    most_false: float | None = None,
) -> float:
    """The threshold that finds most present labels, per present label or false alarm.

    Every set weighs alike, however many labels it was asked for: else the largest set, or the one
    with the most false alarms, would choose for all. Of thresholds that are about as good, it is
    the highest: the curve is flat, and a false mask is worse than a missed one.

    With `most_false`, it is instead the one that finds most present labels while at most that share
    of the absent ones, of all sets together, is taken for present; 1.0, which finds nothing, if
    there is no other.

    Args:
        odds: how likely each label is there, [N]; 0 for one that no threshold finds.
        present: whether its picture shows it, bool [N].
        sets: of the pictures, N; None if there is one.
        most_false: 0..1, or None.
    """
    # Thresholds between the odds themselves: near 1 a fixed step would be too coarse.
    levels = np.unique(odds.clip(1e-6, 1 - 1e-6))
    if most_false is not None:
        wrong = np.array([(~present & (odds >= level)).sum() for level in levels])
        few = levels[wrong <= most_false * (~present).sum()]
        return float(few[0]) if len(few) else 1.0
    weights = np.ones(len(odds)) if sets is None else _alike(np.array(sets))
    there, absent = weights * present, weights * ~present
    gains = [
        there[odds >= level].sum() / (there.sum() + absent[odds >= level].sum()) for level in levels
    ]
    as_good = np.flatnonzero(np.array(gains) >= max(gains) - _FLAT)
    return float(levels[as_good[-1]])


def choose_head_only(answers: list[Answer], *, scale: float, bias: float) -> float:
    """The threshold on the upsampled score map with the best mean IoU over present labels."""
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
    """The weight of each of N rows, by their sets [N], that gives every set the same: mean 1."""
    _, places, counts = np.unique(sets, return_inverse=True, return_counts=True)
    weights: np.ndarray = len(sets) / len(counts) / counts[places]
    return weights


def _fit(x: np.ndarray, y: np.ndarray, *, weights: np.ndarray) -> tuple[float, float]:
    """Scale and bias of the likeliest sigmoid(scale * (x - bias)) for the odds y in 0..1."""
    design = np.stack([x, np.ones_like(x)], axis=1)
    theta = np.zeros(2)
    for _ in range(25):  # Newton's method; the loss is convex in two unknowns
        p = 1 / (1 + np.exp(-np.clip(design @ theta, -30, 30)))
        gradient = design.T @ (weights * (p - y))
        hessian = (design * (weights * p * (1 - p))[:, None]).T @ design + 1e-9 * np.eye(2)
        theta -= np.linalg.solve(hessian, gradient)
    scale = float(max(theta[0], 1e-3))
    return scale, float(np.clip(-theta[1] / scale, -1, 1))
