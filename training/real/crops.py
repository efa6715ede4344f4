"""Random crops of images, as OpenCLIP trains with."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

SCALE = (0.9, 1.0)
"""Share of the image's area that a crop holds."""

RATIO = (3 / 4, 4 / 3)
"""Width over height of a crop, before it is made square."""

_TRIES = 10


def random_crop(image: np.ndarray, rng: np.random.Generator, *, resolution: int) -> np.ndarray:
    """Crops uint8 [H,W,3] at random and resizes, bicubic and antialiased, to uint8 [3,S,S].

    The crop depends on the image's size and the generator alone: at another resolution the same
    generator state gives the same part of the image.
    """
    box = random_crop_box(*image.shape[:2], rng=rng)
    # Cropped first: with `resize(box=)` the kernel would also see what lies outside the crop.
    square = (
        Image.fromarray(image).crop(box).resize((resolution, resolution), Image.Resampling.BICUBIC)
    )
    return np.ascontiguousarray(np.asarray(square).transpose(2, 0, 1))


def random_crop_box(
    height_px: int,
    width_px: int,
    *,
    rng: np.random.Generator,
    scale: tuple[float, float] = SCALE,
) -> tuple[int, int, int, int]:
    """Draws a crop XYXY as torchvision's RandomResizedCrop does, with its central fallback."""
    low, high = RATIO
    for _ in range(_TRIES):
        area = height_px * width_px * rng.uniform(*scale)
        ratio = math.exp(rng.uniform(math.log(low), math.log(high)))
        width, height = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < width <= width_px and 0 < height <= height_px:
            left = int(rng.integers(width_px - width + 1))
            top = int(rng.integers(height_px - height + 1))
            return left, top, left + width, top + height
    width = min(width_px, max(1, round(height_px * high)))
    height = min(height_px, max(1, round(width_px / low)))
    left, top = (width_px - width) // 2, (height_px - height) // 2
    return left, top, left + width, top + height
