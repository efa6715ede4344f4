"""The picture by formula: the same in any language."""

from __future__ import annotations

import numpy as np

from samclip_sdk.device.goldens.formula import formula_picture


def test_each_value_is_the_formulas() -> None:
    picture = formula_picture(211, 157)
    assert picture.shape == (211, 157, 3)
    assert picture.dtype == np.uint8
    for y, x, c in [(0, 0, 0), (0, 0, 2), (210, 156, 1), (100, 3, 0), (7, 150, 2)]:
        assert picture[y, x, c] == (x * x // 97 + y * y // (61 + 30 * c) + 40 * c) % 256
