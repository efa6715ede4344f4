"""The picture that every subject is asked about. Nothing of the SDK: peers' processes import it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

PICTURE_PX = (1024, 683)
"""Width and height."""


def noise_picture(width_px: int, height_px: int) -> NDArray[np.uint8]:
    """Noise, uint8 RGB [height,width,3], the same every time."""
    shape = (height_px, width_px, 3)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
