"""Intervals of figures, worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.intervals import Bootstrap, Estimate, judge, mean, quotient


def test_an_interval_holds_what_resamples_of_images_give() -> None:
    """Of images that are worth 0 or 1 each, the mean is binomial: 50 of 100, give or take 10.

    Two images of many rows give .5 half of the time, and 0 or 1 a quarter each.
    """
    bootstrap, owners = Bootstrap(1000, seed=0), np.arange(100)
    found = bootstrap.estimate(mean(owners % 2), owners=owners)
    assert found == pytest.approx((0.5, 0.4, 0.6), abs=0.02)
    assert bootstrap.estimate(mean(owners % 2), owners=owners) == found
    assert bootstrap.estimate(mean(np.ones(100)), owners=owners) == (1, 1, 1)
    assert bootstrap.estimate(mean(np.empty(0)), owners=owners[:0]) is None
    owners = np.repeat([7, 3], 50)
    assert bootstrap.estimate(mean(owners == 7), owners=owners) == (0.5, 0, 1)


def test_a_quotient_takes_the_worst_of_both_spreads() -> None:
    assert quotient(Estimate(30, 20, 40), Estimate(10, 8, 10)) == (3, 2, 5)
    assert quotient(Estimate(30), Estimate(10, 8, 10)) == (3, None, None)


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        (Estimate(2, 1, 3), "met"),
        (Estimate(1, 0.9, 2), "within the spread"),
        (Estimate(5, 4, 6), "**missed**"),
        (Estimate(2), "spread unknown"),
    ],
)
def test_a_bar_is_judged_by_the_whole_spread(found: Estimate, verdict: str) -> None:
    assert judge(found, minimum=1, maximum=3) == verdict
