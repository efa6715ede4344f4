"""Which masks stay, on masks whose answers are known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from samclip_sdk.engine.objects import upscale_and_pack
from samclip_sdk.image.frame import Frame
from samclip_sdk.image.masks import binarize, mask_to_box

seeds = st.integers(0, 2**32)
frames = st.builds(
    lambda height, width: Frame.fit(height, width, resolution=64),
    st.integers(1, 150),
    st.integers(1, 150),
)


class TestPackMask:
    @given(frame=frames, seed=seeds, threshold=st.floats(-1, 1))
    @settings(max_examples=50)
    def test_it_is_the_mask_and_its_box(self, frame: Frame, seed: int, threshold: float) -> None:
        logits = np.random.default_rng(seed).normal(size=(16, 16)).astype(np.float32)
        (expected,) = binarize(logits[None], frame=frame, mask_threshold=threshold)
        packed, stability = upscale_and_pack(
            logits, frame=frame, mask_threshold=threshold, stability_offset=0
        )
        drawn = np.zeros_like(expected)
        packed.draw(drawn)
        np.testing.assert_array_equal(drawn, expected)
        np.testing.assert_array_equal(packed.box, mask_to_box(expected))
        assert packed.empty == (not expected.any())
        assert stability == (0 if packed.empty else 1)

    @given(frame=frames, seed=seeds, offset=st.floats(0.01, 2))
    @settings(max_examples=50)
    def test_stability_is_the_iou_of_two_thresholds(
        self, frame: Frame, seed: int, offset: float
    ) -> None:
        logits = np.random.default_rng(seed).normal(size=(16, 16)).astype(np.float32)
        _, stability = upscale_and_pack(
            logits, frame=frame, mask_threshold=0.2, stability_offset=offset
        )
        ((high,), (low,)) = (
            binarize(logits[None], frame=frame, mask_threshold=0.2 + sign * offset)
            for sign in (1, -1)
        )
        if low.any():
            # Parts of an image are upscaled alone, to the last bit but one.
            assert stability == pytest.approx(high.sum() / low.sum(), abs=1e-2)
