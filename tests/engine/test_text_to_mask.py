from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from samclip_sdk.bundle.manifest import Calibration
from samclip_sdk.engine import label_points, label_prompts, label_search, text_to_mask
from samclip_sdk.engine.options import TextToMaskOptions
from samclip_sdk.image.frame import Frame, covered_cells

SIDE = 8
frames = st.builds(
    lambda height, width: Frame.fit(height, width, resolution=64),
    st.integers(1, 300),
    st.integers(1, 300),
)
seeds = st.integers(0, 2**40)


def random_maps(count: int, *, seed: int, spread: float = 3.0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return (spread * generator.standard_normal((count, SIDE, SIDE))).astype(np.float32)


def calibration(scale: float, bias: float) -> Calibration:
    return Calibration(
        scale=scale,
        bias=bias,
        mask_threshold_score=0.6,
        presence_threshold=0.5,
        head_only_threshold=0.5,
    )


OPTIONS = TextToMaskOptions(
    presence_threshold=0.5,
    mask_threshold=0,
    points_per_class=3,
    refine=True,
)


@given(frame=frames, seed=seeds, count=st.integers(1, 5), threshold=st.floats(0.01, 0.99))
@settings(max_examples=100, deadline=None)
def test_points_lie_in_the_image(frame: Frame, seed: int, count: int, threshold: float) -> None:
    score_map = random_maps(1, seed=seed)[0]
    rows, columns = covered_cells(frame, side=SIDE)
    score_map[rows:] = 50
    score_map[:, columns:] = 50
    points = label_points.best_points(score_map, frame=frame, count=count, threshold=threshold)
    assert 1 <= len(points) <= count
    assert points.dtype == np.float32
    assert (points >= 0).all()
    upright = frame.to_image(points)
    assert (upright < (frame.width_px, frame.height_px)).all()
    cells = np.floor((points + 0.5) * SIDE / 64).astype(int)
    assert len(np.unique(cells, axis=0)) == len(points)
    chosen = 1 / (1 + np.exp(-score_map[cells[:, 1], cells[:, 0]]))
    best = 1 / (1 + np.exp(-score_map[:rows, :columns].max()))
    assert (chosen > threshold - 1e-6).all() or chosen == pytest.approx([best])


def test_a_constant_alone_is_added_to_the_decoders_logits() -> None:
    frame = Frame.fit(32, 64, resolution=64)
    maps = np.stack([np.full((SIDE, SIDE), score, np.float32) for score in (4, -30)])
    found = label_search.FoundLabels(maps, np.ones(2, np.float32), np.array([0, 1], np.int32))
    asked = label_prompts.label_prompts(
        found, frame=frame, options=OPTIONS, calibration=calibration(1, 0), mask_side=16
    )
    drafts = text_to_mask.refined(
        np.ones((2, 1, 16, 16), np.float32),
        np.zeros((2, 1), np.float32),
        points=asked.points,
        frame=frame,
        bias=1.5,
        mask_threshold=0.0,
    )
    assert (drafts.low_res == 2.5).all()


@pytest.mark.parametrize(("threshold", "right_px"), [(0.3, 64), (0.6, 16)])
def test_a_second_object_counts_from_the_lower_of_two_thresholds(
    threshold: float, right_px: int
) -> None:
    """What a caller asks for, or a label's own, not the calibrated one alone."""
    frame = Frame.fit(64, 64, resolution=64)
    scores = np.full((1, SIDE, SIDE), -9, np.float32)
    scores[0, 1:3, 0:2], scores[0, 1:3, -2:] = np.log(0.7 / 0.3), np.log(0.45 / 0.55)
    found = label_search.FoundLabels(scores, np.ones(1, np.float32), np.zeros(1, np.int32))
    own = calibration(1, 0).model_copy(update={"mask_threshold_score": 0.4})
    options = replace(OPTIONS, presence_threshold=threshold)
    asked = label_prompts.label_prompts(
        found, frame=frame, options=options, calibration=own, mask_side=16
    )
    corners = asked.prompts.point_coords[0][asked.prompts.point_labels[0] >= 2]
    assert corners[:, 0].tolist() == [0, right_px]
