"""Figures with intervals: a statistic of rows, and how it varies over resamples of their pictures.

Every row is of a picture, and counts as often as its picture was drawn.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from benchmarks.photographs.record import Estimate

Statistic = Callable[[np.ndarray], float | None]
"""How often each row counts, float [M], to a figure; None where that counts nothing."""

_INTERVAL = (0.025, 0.975)
_DIGITS = 4


@dataclass(frozen=True)
class Bootstrap:
    """Draws as many pictures as there are, with replacement, `resamples` times, by a seed."""

    resamples: int
    seed: int

    def estimate(self, statistic: Statistic, *, owners: np.ndarray) -> Estimate | None:
        """The figure of all rows, each once, and its interval; None if nothing counts.

        Args:
            statistic: of the rows.
            owners: int [M], the picture of each row.
        """
        pictures, places = np.unique(owners, return_inverse=True)
        value = statistic(np.ones(len(owners)))
        if value is None:
            return None
        rng = np.random.default_rng(self.seed)
        even = np.full(len(pictures), 1 / len(pictures))
        draws = rng.multinomial(len(pictures), even, size=self.resamples).astype(np.float64)
        found = [each for counts in draws if (each := statistic(counts[places])) is not None]
        low, high = np.quantile(found, _INTERVAL).tolist()
        rounded = (round(float(each), _DIGITS) for each in (value, low, high))
        return Estimate(**dict(zip(("value", "low", "high"), rounded, strict=True)))


def ratio(numerators: np.ndarray, denominators: np.ndarray) -> Statistic:
    """The sum of numerators [M] over that of denominators [M]."""

    def statistic(weights: np.ndarray) -> float | None:
        total = float(weights @ denominators)
        return float(weights @ numerators) / total if total else None

    return statistic


def mean(values: np.ndarray) -> Statistic:
    """The mean of values [M]."""
    return ratio(values.astype(np.float64), np.ones(len(values)))


def mean_of_means(values: np.ndarray, *, groups: np.ndarray) -> Statistic:
    """The mean of values [M] in each group, int [M], and then over the groups that count."""

    def statistic(weights: np.ndarray) -> float | None:
        totals = np.bincount(groups, weights)
        sums = np.bincount(groups, weights * values)
        there = totals > 0
        return float((sums[there] / totals[there]).mean()) if there.any() else None

    return statistic


def area_under_curve(scores: np.ndarray, present: np.ndarray) -> Statistic:
    """How often a present row scores above an absent one, [M] both; a tie is worth a half."""
    _, places = np.unique(scores, return_inverse=True)

    def statistic(weights: np.ndarray) -> float | None:
        right = np.bincount(places, weights * present)
        wrong = np.bincount(places, weights * ~present)
        pairs = right.sum() * wrong.sum()
        below = np.cumsum(wrong) - wrong / 2
        return float(right @ below / pairs) if pairs else None

    return statistic
