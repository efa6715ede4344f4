"""A word turned towards examples: by hand, and what holds of any."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from samclip_sdk.bundle.manifest import UNCALIBRATED, Calibration
from samclip_sdk.errors import PromptError
from samclip_sdk.text.learned_label import check_regions, learn_embedding
from samclip_sdk.text.unit_length import normalize
from tests.refusals import refused

# At a score of 0.9, positives have the cosine 0.6 and negatives 0.2.
CALIBRATION = Calibration(
    scale=math.log(9) / 0.2,
    bias=0.4,
    mask_threshold_score=0.5,
    presence_threshold=0.5,
    head_only_threshold=0.5,
)
X, Y, Z = np.eye(3, dtype=np.float32)
NONE = np.zeros((0, 3), dtype=np.float32)
SEEDS = st.integers(0, 2**32 - 1)


def learn(word: Any, positives: Any, negatives: Any = None, **given: Any) -> np.ndarray:
    rows = np.atleast_2d(positives)
    others = np.zeros((0, rows.shape[1]), np.float32) if negatives is None else negatives
    asked = {"calibration": CALIBRATION, "score": 0.9, **given}
    return learn_embedding(word, positives=rows, negatives=np.atleast_2d(others), **asked)


def unit(generator: np.random.Generator, *shape: int) -> np.ndarray:
    return normalize(generator.normal(size=shape).astype(np.float32))


def test_a_word_is_turned_until_the_example_fits() -> None:
    np.testing.assert_allclose(learn(Y, X), [0.6, 0.8, 0], atol=1e-6)
    # What the word has of the example already is no matter: it is turned to the same place.
    np.testing.assert_allclose(learn(normalize(X + 3 * Y), X), [0.6, 0.8, 0], atol=1e-6)


def test_negatives_turn_it_away_and_cost_the_positives_nothing() -> None:
    negative = np.array([0.8, 0, 0.6], dtype=np.float32)  # 0.48 without it
    # 0.6 * 0.8 - against * 0.6 = 0.2
    against = 0.28 / 0.6
    found = learn(Y, X, negative)
    expected = [0.6, math.sqrt(1 - 0.36 - against**2), -against]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert found @ negative == pytest.approx(0.2, abs=1e-6)
    far = np.array([0.1, 0, -math.sqrt(0.99)], dtype=np.float32)  # low enough by itself
    np.testing.assert_allclose(learn(Y, X, far), learn(Y, X), atol=1e-6)


def test_where_not_all_can_be_had_the_positives_come_first() -> None:
    near = normalize(np.array([1, 0, 0.1], dtype=np.float32))
    np.testing.assert_allclose(learn(Y, X, near), [0.6, 0, -0.8], atol=1e-6)
    steep = UNCALIBRATED.model_copy(update={"bias": 0.9})  # no cosine has this score
    np.testing.assert_allclose(learn(Y, X, near, calibration=steep), X, atol=1e-6)


def test_negatives_that_are_the_positives() -> None:
    refused(lambda: learn(Y, X, [X, X]), PromptError, "1.0000")


@given(SEEDS, st.integers(1, 4), st.integers(0, 4), st.floats(0.51, 0.99))
def test_what_holds_of_any(seed: int, positive: int, negative: int, score: float) -> None:
    generator = np.random.default_rng(seed)
    word, rows = unit(generator, 16), unit(generator, positive + negative, 16)
    positives, negatives = rows[:positive], rows[positive:]
    found = learn(word, positives, negatives, score=score)
    assert found.dtype == np.float32
    assert np.linalg.norm(found) == pytest.approx(1, abs=1e-6)
    mean = normalize(positives.mean(axis=0))
    reach = math.log(score / (1 - score)) / CALIBRATION.scale
    assert found @ mean == pytest.approx(max(word @ mean, 0.4 + reach), abs=1e-5)
    assert (positives @ found).mean() >= (positives @ word).mean() - 1e-6
    if positive == 1:
        assert found @ positives[0] >= word @ positives[0] - 1e-6
    turned = learn(word, positives[::-1], negatives[::-1], score=score)
    np.testing.assert_allclose(turned, found, atol=1e-6)
    again = learn(found, positives, negatives, score=score)
    np.testing.assert_allclose(again, found, atol=1e-4)


@pytest.mark.parametrize(
    ("regions", "word"),
    [
        ([[1, 0]], "[1, 2]"),
        ([[[1, 0, 0]]], "[1, 1, 3]"),
        ([[1, 0, 0], [1, 0]], "not one array"),
        ("mug.jpg", "not one array"),
        ([10**400, 0, 0], "not one array"),
        ([2, 0, 0], "length 2"),
        ([[1, 0, 0], [np.nan, 0, 0]], "length nan"),
    ],
)
def test_what_is_no_region(regions: Any, word: str) -> None:
    ask = partial(check_regions, regions, name="positive", embed_dim=3)
    refused(ask, PromptError, "positive", word)


def test_one_region_or_many() -> None:
    assert check_regions(X, name="positive", embed_dim=3).shape == (1, 3)
    assert check_regions([X, Y], name="positive", embed_dim=3).shape == (2, 3)
    for none in ((), [], NONE):
        assert check_regions(none, name="negative", embed_dim=3).shape == (0, 3)
