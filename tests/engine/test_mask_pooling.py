"""Patch embeddings pooled over masks, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from samclip_sdk.bundle.manifest import Calibration
from samclip_sdk.engine.regions import pool_over_mask, score_labels

CALIBRATION = Calibration(
    scale=10, bias=0.5, mask_threshold_score=0.5, presence_threshold=0.5, head_only_threshold=0.5
)
AXES = np.eye(4, dtype=np.float32)  # of the four patches of a picture, one each
PATCHES = AXES[None]


def test_patches_count_by_the_share_that_is_covered() -> None:
    mask = np.zeros((8, 8), dtype=bool)
    mask[:4, :4] = True  # all of the first patch
    mask[:4, 4:5] = True  # a quarter of the second
    pooled = pool_over_mask(PATCHES, mask=mask)
    np.testing.assert_allclose(pooled, np.array([4, 1, 0, 0]) / np.sqrt(17), atol=1e-6)
    assert pooled.dtype == np.float32


def test_nothing_is_like_nothing() -> None:
    pooled = pool_over_mask(PATCHES, mask=np.zeros((8, 8), dtype=bool))
    assert not pooled.any()
    found = score_labels(pooled, texts=AXES, calibration=CALIBRATION)
    assert found == pytest.approx([1 / (1 + np.exp(5))] * 4)


def test_scores_are_calibrated() -> None:
    texts = np.stack([AXES[0], AXES[1], (AXES[0] + AXES[1]) / np.sqrt(2)])
    found = score_labels(AXES[0], texts=texts, calibration=CALIBRATION)
    expected = 1 / (1 + np.exp(-10 * (np.array([1, 0, np.sqrt(0.5)]) - 0.5)))
    assert found == pytest.approx(expected, abs=1e-6)
