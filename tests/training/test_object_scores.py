"""The probability that an object is right, on objects whose odds are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from samclip_sdk.engine.object_score import Numbers, object_score
from tests.fake_source import fake_client, sample_image
from training.asked_images import NamedObjects
from training.object_scores import Judged, fit_object_score, judge, right_objects


def judged(count: int = 4000, *, seed: int = 0) -> tuple[Judged, np.ndarray]:
    """Objects that are right with the odds sigmoid(2 logit(fit) + 3 iou + stability - 3)."""
    generator = np.random.default_rng(seed)
    numbers = generator.uniform(0.02, 0.98, (count, 5))
    logits = 2 * np.log(numbers[:, 0] / (1 - numbers[:, 0])) + numbers[:, 1:3] @ [3, 1] - 3
    odds = 1 / (1 + np.exp(-logits))
    return Judged(numbers, generator.uniform(size=count) < odds, wanted=count), odds


def test_the_odds_are_found_again() -> None:
    seen, odds = judged()
    found = fit_object_score(seen, precision=0.8)
    assert found is not None
    scores = [object_score(Numbers(*row), calibration=found) for row in seen.numbers.tolist()]
    assert np.abs(np.array(scores) - odds).mean() < 0.03
    told = np.array(scores) >= found.min_score
    assert seen.right[told].mean() >= 0.8
    assert found.min_score * 20 == pytest.approx(round(found.min_score * 20))
    below = np.array(scores) >= found.min_score - 0.05
    assert seen.right[below].mean() < 0.8
    stricter = fit_object_score(seen, precision=0.95)
    assert stricter is not None
    assert stricter.min_score > found.min_score


def test_without_two_kinds_of_objects_there_is_no_score() -> None:
    seen, _ = judged(50)
    for right in (np.ones(50, bool), np.zeros(50, bool)):
        assert fit_object_score(Judged(seen.numbers, right, 50), precision=0.8) is None


def test_uncalibrated_the_score_is_a_product() -> None:
    assert object_score(Numbers(0.5, 1.2, 0.5), calibration=None) == pytest.approx(0.25)


def test_an_object_is_found_once(tmp_path: Path) -> None:
    """Of all objects that are found, at most as many are right as there are."""
    with fake_client(tmp_path)[0] as model:
        found = model.segment_instances(sample_image(100, 100), ["dog"], threshold=0, min_score=0)
        assert len(found)
        shown = NamedObjects(sample_image(100, 100), ["dog"], np.asarray(found.masks[:1]))
        answered = model.segment_instances(sample_image(100, 100), ["dog"], min_score=0)
        seen = judge(
            model, [shown, NamedObjects(sample_image(), [], np.zeros((0, 30, 40), bool))], count=2
        )
    assert (seen.wanted, len(seen.right)) == (1, len(answered))
    assert seen.right.sum() <= 1


@pytest.mark.parametrize(
    ("names", "right"),
    [
        (["dog"], [True, False, False]),
        (["dog", "dog"], [True, True, False]),
        (["cat"], [False, False, False]),
        ([], [False, False, False]),
    ],
)
def test_of_masks_that_show_an_object_the_best_is_right(
    names: list[str], right: list[bool]
) -> None:
    mask = np.zeros((8, 8), bool)
    mask[:4] = True
    truth = np.array([mask] * len(names)).reshape(-1, 8, 8)
    shown = NamedObjects(np.zeros((8, 8, 3), np.uint8), names, truth)
    found = right_objects(["dog"] * 3, np.stack([mask, mask, ~mask]), shown)
    assert found.tolist() == right
