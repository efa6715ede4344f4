"""The goldens: open_clip's ids, eager torch's values, and small."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from samclip_sdk.bundle.manifest import GOLDEN_TENSORS
from samclip_sdk.bundle.open import open_bundle
from samclip_sdk.device.goldens.formula import formula_image
from samclip_sdk.device.goldens.schema import golden_error, read_goldens
from samclip_sdk.image.frame import letterbox


def test_goldens_are_small(tiny_bundle: Path) -> None:
    assert (tiny_bundle / GOLDEN_TENSORS).stat().st_size < 400_000


def test_goldens_hold_the_preprocessing(tiny_bundle: Path) -> None:
    index, tensors = read_goldens(tiny_bundle)
    pad_colour = open_bundle(tiny_bundle).manifest.image.pad_colour
    assert {golden.resolution for golden in index.letterbox} == {32, 64}
    assert any(max(golden.size) > 10 * golden.resolution for golden in index.letterbox)
    assert any(golden.size[0] > golden.size[1] for golden in index.letterbox)
    for golden in index.letterbox:
        image = formula_image(*golden.size) if golden.image is None else tensors[golden.image]
        assert image.shape[:2] == golden.size
        square, frame = letterbox(image, resolution=golden.resolution, pad_colour=pad_colour)
        assert golden.extent == (frame.resized_height_px, frame.resized_width_px)
        sampled = square.reshape(-1)[:: golden.output.step]
        np.testing.assert_array_equal(sampled, tensors[golden.output.tensor])


@pytest.mark.parametrize("output", [np.zeros(3), np.array([1, 2, np.nan, 4])])
def test_golden_error_is_infinite_for_what_cannot_be_compared(output: np.ndarray) -> None:
    assert golden_error(output, expected=np.ones(4), step=1) == float("inf")
