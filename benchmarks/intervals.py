"""How sure a figure is: one bootstrap over what figures are of, and spreads over rounds.

What is asked gives rows, each of an owner, such as an image. A figure is a statistic of rows; its
interval tells how it varies over resamples of their owners, where a row counts as often as its
owner was drawn.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, NamedTuple

import numpy as np

Statistic = Callable[[np.ndarray], float | None]
"""How often each row counts, float [M], to a figure; None where that counts nothing."""

_INTERVAL = (0.025, 0.975)


class Estimate(NamedTuple):
    """A figure, and the interval or spread in which it lies; None if that is unknown."""

    value: float
    low: float | None = None
    high: float | None = None


def over_rounds(values: Sequence[float]) -> Estimate:
    """The median of rounds, with the least and the greatest."""
    return Estimate(median(values), min(values), max(values))


@dataclass(frozen=True)
class Bootstrap:
    """Draws as many owners as there are, with replacement, `resamples` times, by a seed."""

    resamples: int = 1000
    seed: int = 0

    def estimate(self, statistic: Statistic, *, owners: np.ndarray) -> Estimate | None:
        """The figure of all rows, each once, and between which values 95 % of resamples lie.

        `owners`, int [M], has the owner of each row. None if nothing counts.
        """
        every, indices = np.unique(owners, return_inverse=True)
        value = statistic(np.ones(len(owners)))
        if value is None:
            return None
        rng = np.random.default_rng(self.seed)
        even = np.full(len(every), 1 / len(every))
        draws = rng.multinomial(len(every), even, size=self.resamples).astype(np.float64)
        found = [each for counts in draws if (each := statistic(counts[indices])) is not None]
        low, high = np.quantile(found, _INTERVAL).tolist()
        return Estimate(round(float(value), 4), round(low, 4), round(high, 4))


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
    _, indices = np.unique(scores, return_inverse=True)

    def statistic(weights: np.ndarray) -> float | None:
        right = np.bincount(indices, weights * present)
        wrong = np.bincount(indices, weights * ~present)
        pairs = right.sum() * wrong.sum()
        below = np.cumsum(wrong) - wrong / 2
        return float(right @ below / pairs) if pairs else None

    return statistic


def matthews(found: np.ndarray, present: np.ndarray) -> Statistic:
    """The correlation of what was found with what is there, bool [M] both, of -1 to 1."""

    def statistic(weights: np.ndarray) -> float | None:
        both, neither = (float(weights @ each) for each in (found & present, ~found & ~present))
        false, missed = (float(weights @ each) for each in (found & ~present, ~found & present))
        sides = (both + false) * (both + missed) * (neither + false) * (neither + missed)
        return (both * neither - false * missed) / sides**0.5 if sides else None

    return statistic


def exact(figure: Any) -> Estimate | None:
    """Something that does not vary, such as a size or a row of one; None stays None."""
    if figure is None:
        return None
    value = getattr(figure, "value", figure)
    return Estimate(value, value, value)


def quotient(value: Any, base: Any, *, scale: float = 1) -> Estimate | None:
    """How many times `base` a value is, in units of which one is `scale`; rows or estimates both.

    Its limits are the least and the greatest that the two spreads allow, None if one is unknown.
    None where one of the two is not known, or the base is 0.
    """
    if value is None or base is None or not base.value:
        return None
    middle = scale * value.value / base.value
    if value.low is None or value.high is None or not base.low or not base.high:
        return Estimate(middle)
    return Estimate(middle, scale * value.low / base.high, scale * value.high / base.low)


def judge(found: Estimate, minimum: float | None, maximum: float | None) -> str:
    """Whether a figure meets a bar: only if its whole spread does, and missed only likewise."""
    low = -math.inf if minimum is None else minimum
    high = math.inf if maximum is None else maximum
    if found.low is None or found.high is None:
        return "spread unknown"
    if low <= found.low and found.high <= high:
        return "met"
    return "**missed**" if found.high < low or found.low > high else "within the spread"
