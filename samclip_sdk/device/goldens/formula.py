"""Makes an image of any size by a formula, so that no golden has to store a large image."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def formula_image(height: int, width: int) -> NDArray[np.uint8]:
    """An image uint8 [H,W,3] of rings that become finer, with edges where a level wraps around.

    value(y, x, c) = (x * x / 97 + y * y / (61 + 30 * c) + 40 * c) mod 256, in whole numbers. Every
    programming language makes the same image. A resize without antialiasing of the fine rings
    gives a large error.
    """
    y, x = np.ogrid[:height, :width]
    channels = [x * x // 97 + y * y // (61 + 30 * c) + 40 * c for c in range(3)]
    return (np.stack(channels, axis=-1) % 256).astype(np.uint8)
