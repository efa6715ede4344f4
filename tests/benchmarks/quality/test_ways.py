"""Text to mask by points drawn at random, as the paper has it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.quality.ways import all_ways, by_drawn_points, draw_points
from samclip_sdk import ImageEmbedding, SamClip
from samclip_sdk.picture.frame import Frame

LABELS = ["cat", "guitar", "a word that nothing is"]


@pytest.fixture(scope="module")
def tiny(tiny_bundle: Path) -> SamClip:
    return SamClip.load("onnx", model=tiny_bundle, threads=1)


@pytest.fixture(scope="module")
def picture(tiny: SamClip) -> ImageEmbedding:
    pixels = np.random.default_rng(0).integers(0, 256, (60, 100, 3), np.uint8)
    return tiny.encode_image(pixels)


def test_a_label_is_answered_whatever_the_others_are(
    tiny: SamClip, picture: ImageEmbedding
) -> None:
    """By all ways; so one answer serves all thresholds."""
    ways = all_ways(tiny, seed=3)
    assert [*ways][:3] == ["clip_head", "both_heads", "drawn_points"]
    found = tiny.segment_text(picture, LABELS, refine=False).asked
    for name, way in ways.items():
        masks, presence = way(picture, LABELS)
        alone, own = way(picture, LABELS[1:2])
        assert np.array_equal(masks[1], alone[0]), name
        assert own[0] == pytest.approx(presence[1], abs=1e-5)
        np.testing.assert_allclose(presence, found.presence, atol=1e-4)
    other, _ = by_drawn_points(tiny, picture, LABELS, seed=4)
    masks, _ = by_drawn_points(tiny, picture, LABELS, seed=3)
    assert any(not np.array_equal(*pair) for pair in zip(masks, other, strict=True))


def test_points_are_of_cells_above_a_half_and_follow_the_scores() -> None:
    frame = Frame.fit(64, 64, resolution=64)
    scores = np.full((4, 4), -5.0, np.float32)
    scores[1, 2], scores[3, 0] = 8.0, 0.5
    rng = np.random.default_rng(0)
    drawn = {tuple(each) for each in draw_points(scores, frame=frame, rng=rng).tolist()}
    assert drawn == {(39.5, 23.5), (7.5, 55.5)}
    scores[:] = -5.0
    scores[2, 3] = -1.0
    assert draw_points(scores, frame=frame, rng=rng).tolist() == [[55.5, 39.5]]
