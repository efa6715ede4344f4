"""Pictures of coloured shapes: picture i of a seed is always the same, and like no other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

SHAPES = 6


def make_picture(index: int, *, seed: int, size: tuple[int, int] = (128, 96)) -> Image.Image:
    """A picture of a size, width and height in pixels."""
    generator = np.random.default_rng([seed, index])
    image = Image.new("RGB", size, tuple(generator.integers(0, 256, 3).tolist()))
    draw = ImageDraw.Draw(image)
    for number in range(SHAPES):
        corners = np.sort(generator.uniform(0, 1, (2, 2)), axis=0) * size
        shape = draw.ellipse if number % 2 else draw.rectangle
        shape(corners.ravel().tolist(), fill=tuple(generator.integers(0, 256, 3).tolist()))
    return image


def make_pixels(count: int, *, seed: int) -> list[NDArray[np.uint8]]:
    """Pictures uint8 [H,W,3], each of a size of its own."""
    return [
        np.asarray(make_picture(index, seed=seed, size=(128 - 8 * (index % 4), 80 + 4 * index)))
        for index in range(count)
    ]


def write_pictures(
    folder: Path, count: int, *, seed: int, size: tuple[int, int] = (128, 96)
) -> Iterator[Path]:
    """Writes PNG files, and yields each."""
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        path = folder / f"{index:06d}.png"
        make_picture(index, seed=seed, size=size).save(path)
        yield path
