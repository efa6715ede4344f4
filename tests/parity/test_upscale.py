"""Masks in the image's own pixels: segment-anything's two interpolations."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from samclip_sdk.image.frame import Frame
from samclip_sdk.image.masks import binarize
from samclip_sdk.image.upscale import upscale_above


@pytest.mark.parametrize(
    ("height", "width", "resolution"),
    [(48, 64, 32), (64, 48, 64), (30, 30, 64), (10, 3000, 256), (3000, 10, 64), (1, 2, 32)],
)
def test_upscaling_is_sams_two_steps(height: int, width: int, resolution: int) -> None:
    grid = resolution // 4
    logits = np.random.default_rng(0).normal(0, 8, (2, grid, grid)).astype(np.float32)
    frame = Frame.fit(height, width, resolution=resolution)

    def interpolate(x: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        return torch.nn.functional.interpolate(x, size, mode="bilinear", align_corners=False)

    square = interpolate(torch.from_numpy(logits)[None], (resolution, resolution))
    image = square[..., : frame.resized_height_px, : frame.resized_width_px]
    expected = interpolate(image, (height, width))[0].numpy()
    # Every pixel, for all of them exceed minus infinity.
    upscaled = np.stack([upscale_above(each, frame=frame, threshold=-np.inf)[1] for each in logits])
    assert upscaled.dtype == np.float32
    assert upscaled.shape == (2, height, width)
    np.testing.assert_allclose(upscaled, expected, atol=1e-4 * np.abs(logits).max())
    masks = binarize(logits, frame=frame, mask_threshold=1.5)
    assert masks.dtype == bool
    np.testing.assert_array_equal(masks, upscaled > 1.5)
