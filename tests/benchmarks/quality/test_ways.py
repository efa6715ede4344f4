"""From texts to masks, by one head, by both, and by the apps' graph."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.quality.measure import all_ways
from samclip_sdk import SamClip
from tests.drawings import TINY_BUNDLE

LABELS = ["cat", "guitar", "a word that nothing is"]


def test_a_label_is_answered_whatever_the_others_are() -> None:
    """By all ways; so one answer serves all thresholds."""
    tiny = SamClip.load("onnx", model=TINY_BUNDLE, threads=1)
    pixels = np.random.default_rng(0).integers(0, 256, (60, 100, 3), np.uint8)
    image, ways = tiny.encode_image(pixels), all_ways(tiny)
    assert [*ways] == ["clip_head", "both_heads", "one_graph"]
    found = tiny.segment_text(image, LABELS, refine=False).asked
    for name, way in ways.items():
        masks, presence = way(image, LABELS)
        alone, own = way(image, LABELS[1:2])
        assert np.array_equal(masks[1], alone[0]), name
        assert own[0] == pytest.approx(presence[1], abs=1e-5)
        np.testing.assert_allclose(presence, found.presence, atol=1e-4)
