"""Figures with intervals, worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.intervals import (
    Bootstrap,
    Estimate,
    area_under_curve,
    exact,
    judge,
    mean,
    mean_of_means,
    quotient,
    ratio,
)


def test_rows_count_as_often_as_they_are_drawn() -> None:
    statistic = mean(np.array([0.0, 0.5, 1.0, 0.2]))
    assert statistic(np.ones(4)) == pytest.approx(1.7 / 4)
    assert statistic(np.array([2.0, 2.0, 0.0, 1.0])) == pytest.approx((2 * 0.5 + 0.2) / 5)
    assert statistic(np.zeros(4)) is None


def test_a_ratio_is_of_sums() -> None:
    statistic = ratio(np.array([1.0, 2.0, 5.0]), np.array([2.0, 2.0, 0.0]))
    assert statistic(np.array([1.0, 1.0, 0.0])) == 0.75
    assert statistic(np.array([0.0, 0.0, 1.0])) is None


def test_a_mean_of_means_leaves_out_groups_that_were_not_drawn() -> None:
    statistic = mean_of_means(np.array([0.2, 0.4, 1.0]), groups=np.array([0, 0, 1]))
    assert statistic(np.ones(3)) == pytest.approx((0.3 + 1.0) / 2)
    assert statistic(np.array([3.0, 0.0, 0.0])) == pytest.approx(0.2)
    assert statistic(np.zeros(3)) is None


def test_the_area_is_the_share_of_pairs_in_order() -> None:
    """Present .9 and .4, absent .4 and .1: three pairs of four in order, and a tie."""
    scores, present = np.array([0.9, 0.4, 0.4, 0.1]), np.array([True, True, False, False])
    statistic = area_under_curve(scores, present)
    assert statistic(np.ones(4)) == pytest.approx(3.5 / 4)
    assert statistic(np.array([0.0, 3.0, 0.0, 1.0])) == 1.0, "only .4 and .1 are left"
    assert statistic(np.array([0.0, 1.0, 0.0, 0.0])) is None


def test_an_interval_holds_what_resamples_give() -> None:
    """Of pictures that are worth 0 or 1 each, the mean is binomial: 50 of 100, give or take 10."""
    worth, owners = np.arange(100) % 2, np.arange(100)
    bootstrap = Bootstrap(1000, seed=0)
    found = bootstrap.estimate(mean(worth), owners=owners)
    assert found is not None
    assert found.value == 0.5
    assert found.low == pytest.approx(0.4, abs=0.02)
    assert found.high == pytest.approx(0.6, abs=0.02)
    assert bootstrap.estimate(mean(worth), owners=owners) == found
    alike = bootstrap.estimate(mean(np.ones(100)), owners=owners)
    assert alike is not None
    assert (alike.low, alike.high) == (1.0, 1.0)


def test_the_rows_of_a_picture_are_drawn_together() -> None:
    """Two pictures of many rows give .5 half of the time, and 0 or 1 a quarter each."""
    owners = np.repeat([7, 3], 50)
    found = Bootstrap(1000, seed=0).estimate(mean(owners == 7), owners=owners)
    assert found is not None
    assert (found.low, found.value, found.high) == (0.0, 0.5, 1.0)


def test_nothing_has_no_figure() -> None:
    bootstrap = Bootstrap(10, seed=0)
    assert bootstrap.estimate(mean(np.empty(0)), owners=np.empty(0, np.int64)) is None


def test_a_quotient_takes_the_worst_of_both_spreads() -> None:
    assert quotient(Estimate(30, 20, 40), Estimate(10, 8, 10)) == (3, 2, 5)
    assert quotient(Estimate(30), Estimate(10, 8, 10)) == (3, None, None)
    assert quotient(exact(0.98), exact(1), scale=100) == (98, 98, 98)
    assert quotient(None, exact(1)) is quotient(exact(1), exact(None)) is None
    assert quotient(exact(1), exact(0)) is None


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        (Estimate(2, 1, 3), "met"),
        (Estimate(1, 0.9, 2), "within the spread"),
        (Estimate(0.5, 0.4, 0.6), "**missed**"),
        (Estimate(5, 4, 6), "**missed**"),
        (Estimate(2), "spread unknown"),
    ],
)
def test_a_bar_is_judged_by_the_whole_spread(found: Estimate, verdict: str) -> None:
    assert judge(found, at_least=1, at_most=3) == verdict
