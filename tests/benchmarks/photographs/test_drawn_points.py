"""Text to mask by points drawn at random, as the paper has it."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pytest

from benchmarks.photographs import drawn_points
from samclip_sdk import ImageEmbedding, SamClip
from samclip_sdk.engine.label_prompts import mask_prompt
from samclip_sdk.picture.frame import Frame

LABELS = ["cat", "guitar", "a word that nothing is"]


@pytest.fixture(scope="module")
def tiny(tiny_bundle: Path) -> SamClip:
    return SamClip.load("onnx", model=tiny_bundle, threads=1)


@pytest.fixture(scope="module")
def picture(tiny: SamClip) -> ImageEmbedding:
    pixels = np.random.default_rng(0).integers(0, 256, (60, 100, 3), np.uint8)
    return tiny.encode_image(pixels)


def test_each_label_is_asked_by_its_own_map_and_points(
    tiny: SamClip, picture: ImageEmbedding
) -> None:
    masks, presence = drawn_points.by_drawn_points(tiny, picture, LABELS, seed=3)
    found = tiny.segment_text(picture, LABELS, refine=False).asked
    assert np.array_equal(presence, found.presence)
    alone, _ = drawn_points.by_drawn_points(tiny, picture, LABELS[1:2], seed=3)
    assert np.array_equal(masks[1], alone[0])
    rng = np.random.default_rng([3, zlib.crc32(b"guitar")])
    points = drawn_points._draw(found.score_maps[1], frame=picture.frame, rng=rng)
    side = 4 * picture.image_embeddings.shape[-1]
    asked = tiny.segment(
        picture,
        points=points,
        mask_input=mask_prompt(found.score_maps[1], frame=picture.frame, side=side),
        multimask_output=False,
    )
    assert np.array_equal(masks[1], asked.masks[0])


def test_points_are_of_cells_above_a_half_and_follow_the_scores() -> None:
    frame = Frame.fit(64, 64, resolution=64)
    scores = np.full((4, 4), -5.0, np.float32)
    scores[1, 2], scores[3, 0] = 8.0, 0.5
    rng = np.random.default_rng(0)
    drawn = {tuple(each) for each in drawn_points._draw(scores, frame=frame, rng=rng).tolist()}
    assert drawn == {(39.5, 23.5), (7.5, 55.5)}
    scores[:] = -5.0
    scores[2, 3] = -1.0
    assert drawn_points._draw(scores, frame=frame, rng=rng).tolist() == [[55.5, 39.5]]
