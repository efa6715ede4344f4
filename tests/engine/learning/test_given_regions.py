"""How a mask fits given masks and boxes, and when it is of a whole thing instead of a part."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from samclip_sdk.engine.learning.coco_file import Labelled
from samclip_sdk.engine.learning.given_regions import fit_to_given, takes_the_whole
from samclip_sdk.image.packed_masks import PackedMask


def drawn(*boxes: tuple[int, int, int, int]) -> NDArray[np.bool_]:
    mask = np.zeros((100, 120), dtype=bool)
    for x0, y0, x1, y1 in boxes:
        mask[y0:y1, x0:x1] = True
    return mask


BODY, FACE, OTHER = (20, 10, 60, 90), (30, 10, 50, 30), (90, 10, 110, 90)


def test_a_mask_is_compared_with_given_masks_pixel_by_pixel() -> None:
    own = Labelled([PackedMask.pack(drawn(FACE))])
    assert fit_to_given(drawn(FACE), own) == 1.0
    assert fit_to_given(drawn(BODY), own) == pytest.approx(1 / 8)
    assert fit_to_given(drawn(), own) == 0.0


def test_within_a_given_box_a_mask_counts_as_the_rectangle_around_it() -> None:
    rows, columns = np.indices((100, 120))
    disc = (rows - 50) ** 2 + (columns - 50) ** 2 < 20**2
    own = Labelled(boxes=[(30.6, 30.6, 70.4, 70.4), (-5, -5, 0.2, 0.2)])
    assert fit_to_given(disc, own) > 0.95
    assert fit_to_given(disc | drawn((0, 80, 100, 90)), own) < 0.7  # outside it counts as it is
    assert fit_to_given(drawn((30, 30, 70, 50)), own) == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("boxes", [True, False])
def test_a_whole_covers_what_was_given_and_is_far_larger(boxes: bool) -> None:
    own = Labelled(boxes=[FACE]) if boxes else Labelled([PackedMask.pack(drawn(FACE))])
    assert takes_the_whole(drawn(BODY), own)
    assert not takes_the_whole(drawn(FACE), own)
    assert not takes_the_whole(drawn(FACE, OTHER), own)  # another one, which nobody labelled
    assert not takes_the_whole(drawn((40, 25, 60, 90)), own)  # large, but beside it
    assert not takes_the_whole(drawn(), own)
