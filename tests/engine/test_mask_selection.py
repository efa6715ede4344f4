"""Which masks stay, on masks whose answers are known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from samclip_sdk.engine.objects import distinct_boxes, distinct_masks, upscale_and_pack
from samclip_sdk.picture.frame import Frame
from samclip_sdk.picture.masks import binarize, mask_to_box

seeds = st.integers(0, 2**32)
frames = st.builds(
    lambda height, width: Frame.fit(height, width, resolution=64),
    st.integers(1, 150),
    st.integers(1, 150),
)


def squares(*places: tuple[int, int, int, int]) -> np.ndarray:
    """Masks [N,10,10] of boxes XYXY."""
    masks = np.zeros((len(places), 10, 10), dtype=bool)
    for mask, (x0, y0, x1, y1) in zip(masks, places, strict=True):
        mask[y0:y1, x0:x1] = True
    return masks


def scores(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float32)


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
            # Parts of a picture are upscaled alone, to the last bit but one.
            assert stability == pytest.approx(high.sum() / low.sum(), abs=1e-2)


class TestDistinctBoxes:
    def test_without_an_area_nothing_overlaps(self) -> None:
        boxes = np.tile([3.0, 3, 3, 3], (2, 1))
        assert len(distinct_boxes(boxes, scores=scores(1, 2), iou_threshold=0.5)) == 2
        assert len(distinct_boxes(np.zeros((0, 4)), scores=scores(), iou_threshold=0.5)) == 0


class TestDistinctMasks:
    def kept(self, masks: np.ndarray, *values: float) -> list[int]:
        return distinct_masks(
            masks, scores=scores(*values), iou_threshold=0.5, contained_share=0.8
        ).tolist()

    def test_the_better_of_two_that_overlap_stays(self) -> None:
        masks = squares((0, 0, 10, 6), (0, 2, 10, 8), (0, 8, 10, 10))  # IoU 0.5, then apart
        assert self.kept(masks, 0.5, 0.9, 0.1) == [1, 0, 2]
        masks = squares((0, 0, 10, 6), (0, 1, 10, 7))  # IoU 5 / 7
        assert self.kept(masks, 0.5, 0.9) == [1]
        assert self.kept(masks, 0.9, 0.9) == [0]

    def test_a_part_of_a_better_one_goes_and_a_better_part_stays(self) -> None:
        masks = squares((0, 0, 10, 10), (0, 0, 4, 4), (9, 0, 10, 5))
        assert self.kept(masks, 0.9, 0.5, 0.4) == [0]
        assert self.kept(masks, 0.5, 0.9, 0.4) == [1, 0]
        # Four fifths inside are a part, less is none.
        inside = squares((0, 0, 8, 10), (4, 0, 9, 2))
        assert self.kept(inside, 0.9, 0.5) == [0]
        assert self.kept(squares((0, 0, 8, 10), (5, 0, 9, 2)), 0.9, 0.5) == [0, 1]

    def test_what_better_ones_cover_together_is_none_of_its_own(self) -> None:
        both = squares((0, 0, 5, 10), (5, 0, 10, 10), (0, 0, 10, 10))
        assert self.kept(both, 0.9, 0.8, 0.7) == [0, 1]
        assert self.kept(both, 0.7, 0.6, 0.9) == [2]
