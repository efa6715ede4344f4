from __future__ import annotations

import math

import numpy as np
import pytest

from training.thresholds import Answer, choose_head_only, choose_presence, fit_patches


@pytest.mark.parametrize("share", [0.5, 0.1])
def test_fit_recovers_a_known_logistic(share: float) -> None:
    """Two normals of one spread: the odds are logistic in the cosine, and know their shares."""
    rng = np.random.default_rng(0)
    covered = rng.random((100, 20, 20)) < share
    cosines = rng.normal(np.where(covered, 0.3, 0.1), 0.1).astype(np.float32)
    answers = [Answer(x, y.astype(np.float32)) for x, y in zip(cosines, covered, strict=True)]
    scale, bias = fit_patches(answers)
    assert scale == pytest.approx((0.3 - 0.1) / 0.1**2, rel=0.05)
    assert bias == pytest.approx(0.2 + math.log((1 - share) / share) / scale, abs=0.01)


def test_a_cosine_that_tells_nothing_keeps_a_valid_scale() -> None:
    cosines, coverage = np.array([[0.4, 0.1]], np.float32), np.array([[0.0, 1.0]], np.float32)
    scale, bias = fit_patches([Answer(cosines, coverage)])
    assert scale > 0
    assert -1 <= bias <= 1


FOUR = (0.9, 0.7, 0.5, 0.3)


@pytest.mark.parametrize(
    ("present", "absent", "max_false", "threshold"),
    [
        ((0.9, 0.8, 0.7), (0.6, 0.3, 0.2), None, 0.7),
        # One absent label that is surer than all: shutting it out would cost the others.
        ((0.9, 0.8, 0.7), (0.99,), None, 0.7),
        # With one absent label of four let in, .7 is the lowest.
        (FOUR, (0.8, 0.6, 0.4, 0.1), 0.0, 0.9),
        (FOUR, (0.8, 0.6, 0.4, 0.1), 0.24, 0.9),
        (FOUR, (0.8, 0.6, 0.4, 0.1), 0.25, 0.7),
        (FOUR, (0.8, 0.6, 0.4, 0.1), 0.5, 0.5),
        (FOUR, (0.8, 0.6, 0.4, 0.1), 0.99, 0.3),
        (FOUR, (0.8, 0.6, 0.4, 0.1), 1.0, 0.1),
        ((0.3,), (0.4,), 0.1, 1.0),
    ],
)
def test_presence_lets_the_present_in_and_the_absent_not(
    present: tuple[float, ...],
    absent: tuple[float, ...],
    max_false: float | None,
    threshold: float,
) -> None:
    """And `max_false` is a share of all absent labels, whatever set they are of: a promise."""
    likely, shown = np.array([*present, *absent]), np.arange(9)[: len(present + absent)]
    found = choose_presence(likely, shown < len(present), max_false=max_false)
    assert found == pytest.approx(threshold)
    if max_false is not None:
        sets = ["a", *["b"] * (len(likely) - 1)]
        again = choose_presence(likely, shown < len(present), sets=sets, max_false=max_false)
        assert again == found


def test_each_set_weighs_alike_in_the_fit_of_patches() -> None:
    """A set that comes ten times over changes nothing; of one set alone, it would be the same."""
    rng = np.random.default_rng(0)

    def of(name: str, bias: float) -> Answer:
        covered = rng.random((20, 20)) < 0.5
        cosines = rng.normal(np.where(covered, bias + 0.1, bias - 0.1), 0.1).astype(np.float32)
        return Answer(cosines, covered.astype(np.float32), of=name)

    few, many = of("few", 0.0), of("many", 0.3)
    evenly = fit_patches([few, many])
    assert fit_patches([few, *[many] * 10]) == pytest.approx(evenly)
    alike = [Answer(each.cosines, each.coverage) for each in (few, *[many] * 10)]
    assert fit_patches(alike)[1] > evenly[1] + 0.05


@pytest.mark.parametrize("of", ["a", "b"])
def test_patches_covered_in_part_teach_nothing(of: str) -> None:
    """Even if they are all of a set."""
    rng = np.random.default_rng(0)
    covered = rng.random((10, 10)) < 0.5
    cosines = rng.normal(np.where(covered, 0.3, 0.1), 0.1).astype(np.float32)
    sure = Answer(cosines, covered.astype(np.float32), of="a")
    unsure = Answer(np.full((10, 10), 0.9, np.float32), np.full((10, 10), 0.3, np.float32), of=of)
    assert fit_patches([sure, unsure]) == pytest.approx(fit_patches([sure]))


def test_each_set_weighs_alike_in_the_choice_of_presence() -> None:
    """Streets are full of sure false alarms; there are ten times as many as everyday scenes.

    Counted by answers they shut the threshold above .7, where everyday scenes find nothing.
    """
    everyday = [(0.6, True), (0.5, True), (0.4, True), (0.1, False), (0.2, False), (0.3, False)]
    streets = [(0.9, True), (0.8, True), (0.8, True), (0.6, False), (0.5, False), (0.45, False)]
    rows = [("everyday", *each) for each in everyday]
    rows += [("streets", *each) for each in streets * 10]
    sets = [name for name, _, _ in rows]
    likely, present = np.array([row[1] for row in rows]), np.array([row[2] for row in rows])
    assert choose_presence(likely, present) == pytest.approx(0.8)
    assert choose_presence(likely, present, sets=sets) == pytest.approx(0.4)


def test_head_only_cuts_a_halo_off() -> None:
    coverage = np.zeros((8, 8), np.float32)
    coverage[2:6, 2:6] = 1
    cosines = np.full((8, 8), -0.5, np.float32)
    cosines[1:7, 1:7] = 0.05  # a halo at sigmoid(0.5) = 0.62
    cosines[2:6, 2:6] = 0.25  # the object at 0.92
    present, absent = Answer(cosines, coverage), Answer(cosines, np.zeros_like(coverage))
    level = choose_head_only([present], scale=10.0, bias=0.0)
    assert 0.62 < level < 0.92
    assert choose_head_only([present, absent], scale=10.0, bias=0.0) == level
