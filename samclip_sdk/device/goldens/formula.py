"""A picture of any size by a formula, so that no golden need hold a large one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def formula_picture(height: int, width: int) -> NDArray[np.uint8]:
    """A picture uint8 [H,W,3] of rings that grow finer, with edges where a level wraps around.

    value(y, x, c) = (x * x / 97 + y * y / (61 + 30 * c) + 40 * c) mod 256, in whole numbers: any
    language makes the same, and a resize that lets its fine rings alias is far off.
    """
    y, x = np.ogrid[:height, :width]
    channels = [x * x // 97 + y * y // (61 + 30 * c) + 40 * c for c in range(3)]
    return (np.stack(channels, axis=-1) % 256).astype(np.uint8)
