"""Figures with intervals: a statistic of rows, and how it varies over resamples of the pictures.

A row belongs to a picture, and counts as often as its picture was drawn. Owners are int [M], the
number of each row's picture.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from benchmarks.photographs.record import Estimate

Statistic = Callable[[np.ndarray], float | None]
"""How often each picture counts, float [N], to a figure; None where that counts nothing."""

_INTERVAL = (0.025, 0.975)
_DIGITS = 4


class Bootstrap:
    """Draws as many pictures as there are, with replacement, again and again.

    Args:
        pictures: N.
        resamples: how often.
        seed: of the draws.
    """

    def __init__(self, pictures: int, *, resamples: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        even = np.full(pictures, 1 / pictures)
        self._counts = rng.multinomial(pictures, even, size=resamples).astype(np.float64)

    def estimate(self, statistic: Statistic) -> Estimate | None:
        """The figure of all pictures, each once, and its interval; None if nothing counts."""
        value = statistic(np.ones(self._counts.shape[1]))
        if value is None:
            return None
        found = [each for counts in self._counts if (each := statistic(counts)) is not None]
        low, high = np.quantile(found, _INTERVAL).tolist()
        rounded = (round(float(each), _DIGITS) for each in (value, low, high))
        return Estimate(**dict(zip(("value", "low", "high"), rounded, strict=True)))


def ratio(numerators: np.ndarray, denominators: np.ndarray, *, owners: np.ndarray) -> Statistic:
    """The sum of numerators [M] over that of denominators [M]."""

    def statistic(counts: np.ndarray) -> float | None:
        weights = counts[owners]
        total = float(weights @ denominators)
        return float(weights @ numerators) / total if total else None

    return statistic


def mean(values: np.ndarray, *, owners: np.ndarray) -> Statistic:
    """The mean of values [M]."""
    return ratio(values.astype(np.float64), np.ones(len(values)), owners=owners)


def mean_of_means(values: np.ndarray, *, groups: np.ndarray, owners: np.ndarray) -> Statistic:
    """The mean of values [M] in each group, int [M], and then over the groups that count."""

    def statistic(counts: np.ndarray) -> float | None:
        weights = counts[owners]
        totals = np.bincount(groups, weights)
        sums = np.bincount(groups, weights * values)
        there = totals > 0
        return float((sums[there] / totals[there]).mean()) if there.any() else None

    return statistic


def area_under_curve(scores: np.ndarray, present: np.ndarray, *, owners: np.ndarray) -> Statistic:
    """How often a present row scores above an absent one, [M] both; a tie is worth a half."""
    _, places = np.unique(scores, return_inverse=True)

    def statistic(counts: np.ndarray) -> float | None:
        weights = counts[owners]
        right = np.bincount(places, weights * present)
        wrong = np.bincount(places, weights * ~present)
        pairs = right.sum() * wrong.sum()
        below = np.cumsum(wrong) - wrong / 2
        return float(right @ below / pairs) if pairs else None

    return statistic
