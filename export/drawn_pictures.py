"""Pictures drawn by rule: inputs for the parity gate and the goldens that need no photograph."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw


def draw_picture(height_px: int, width_px: int, *, seed: int) -> NDArray[np.uint8]:
    """A sky over a meadow with a few discs and boxes.

    Args:
        height_px: rows.
        width_px: columns.
        seed: of places, sizes and colours.

    Returns:
        uint8 [H,W,3], RGB.
    """
    rng = np.random.default_rng(seed)
    top, bottom = np.array([150.0, 195.0, 235.0]), np.array([95.0, 140.0, 70.0])
    blend = np.linspace(0, 1, height_px)[:, None, None]
    ground = np.broadcast_to(top * (1 - blend) + bottom * blend, (height_px, width_px, 3))
    picture = Image.fromarray(ground.astype(np.uint8))
    draw = ImageDraw.Draw(picture)
    for index in range(5):
        radius = rng.uniform(0.08, 0.22) * min(height_px, width_px)
        x, y = rng.uniform(0.15, 0.85, size=2) * (width_px, height_px)
        colour = tuple(int(level) for level in rng.integers(20, 236, size=3))
        shape = draw.ellipse if index % 2 else draw.rectangle
        shape((x - radius, y - radius, x + radius, y + radius), fill=colour)
    pixels: NDArray[np.uint8] = np.array(picture)
    return pixels
