"""The image by formula: the same in any language."""

from __future__ import annotations

import numpy as np

from samclip_sdk.device.goldens.formula import formula_image


def test_each_value_is_the_formulas() -> None:
    image = formula_image(211, 157)
    assert image.shape == (211, 157, 3)
    assert image.dtype == np.uint8
    for y, x, c in [(0, 0, 0), (0, 0, 2), (210, 156, 1), (100, 3, 0), (7, 150, 2)]:
        assert image[y, x, c] == (x * x // 97 + y * y // (61 + 30 * c) + 40 * c) % 256
