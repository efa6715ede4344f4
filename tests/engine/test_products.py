"""Products in blocks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from samclip_sdk.engine.products import product


@pytest.mark.parametrize("rows", [0, 1, 682, 683, 1300])
@pytest.mark.parametrize("columns", [(), (1,), (3,), (500,)])
def test_blocks_make_the_whole(rows: int, columns: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    matrix = rng.standard_normal((rows, 384)).astype(np.float32)
    other = rng.standard_normal((384, *columns)).astype(np.float32)
    found = product(matrix, other)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, matrix @ other, atol=1e-4)


def test_no_product_is_large() -> None:
    """Multiply-adds are counted, by an array that tells of its products."""
    sizes: list[int] = []

    class Counted(np.ndarray):
        def __matmul__(self, other: Any) -> Any:
            sizes.append(self.size * (np.size(other) // len(other)))
            return np.asarray(self) @ other

    for columns in ((), (484,)):
        product(np.zeros((1000, 384), np.float32).view(Counted), np.zeros((384, *columns), "f4"))
    assert len(sizes) == 2 + 39 * 19
    assert max(sizes) <= 1 << 18
