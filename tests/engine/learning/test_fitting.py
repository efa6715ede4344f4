"""Thresholds that tell images apart, and what a label is taught not to be."""

from __future__ import annotations

import numpy as np
import pytest

from samclip_sdk.bundle.manifest import UNCALIBRATED
from samclip_sdk.engine.learning.fitting import FOLDS, Pupil, deal, fit_threshold, threshold_between

THERE = np.array([0.5, 0.6, 0.9], np.float32)


@pytest.mark.parametrize(
    ("absent", "minimum", "maximum", "gain"),
    [
        ([0.1, 0.2], 0.2, 0.5, 1.0),
        ([0.1, 0.7], 0.7, 0.9, 1 / 3),
        ([0.55, 0.1, 0.1, 0.1], 0.55, 0.6, 2 / 3),
        ([], 0.7, 0.7, 1 / 3),
    ],
)
def test_the_threshold_parts_the_images(
    absent: list[float], minimum: float, maximum: float, gain: float
) -> None:
    threshold, found = fit_threshold(THERE, np.array(absent, np.float32), default=0.7)
    assert minimum - 1e-6 <= threshold <= maximum + 1e-6
    assert found == pytest.approx(gain)


def test_a_threshold_that_is_as_good_as_any_is_kept() -> None:
    assert fit_threshold(THERE, np.array([0.1], np.float32), default=0.4)[0] == pytest.approx(0.4)


def test_a_threshold_between_the_examples() -> None:
    def between(*absent: float) -> float | None:
        return threshold_between([0.9, 0.95], absent, default=0.6)

    told = between(0.3, 0.8)
    assert told is not None
    assert 0.8 < told < 0.85  # a higher one would find less elsewhere
    assert between() is between(0.3, 0.5) is None  # the default does it
    assert between(0.92) is between(0.9) is None  # none does it


def test_every_fold_has_its_share_of_both_kinds() -> None:
    shows = np.arange(40) % FOLDS == 1  # as in a film of which each fourth image shows it
    folds = deal(shows)
    for kind in (shows, ~shows):
        counts = np.bincount(folds[kind], minlength=FOLDS)
        assert counts.max() - counts.min() <= 1


def test_what_cannot_be_told_from_an_example_teaches_nothing() -> None:
    word, shown = np.eye(2, 8, dtype=np.float32)
    pupil = Pupil(word, np.ones(2, bool), {0: shown, 1: shown})
    calibration = UNCALIBRATED.model_copy(update={"scale": 20.0, "bias": 0.5})
    before = pupil.versions(calibration=calibration, score=0.95)
    pupil.negatives[-1].append(shown)
    after = pupil.versions(calibration=calibration, score=0.95)
    np.testing.assert_array_equal(after[-1], before[-1])
