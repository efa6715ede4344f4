from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from samclip_sdk.picture.frame import Frame
from samclip_sdk.picture.upscale import upscale_above


def upscale_whole(logits: NDArray[np.float32], frame: Frame) -> NDArray[np.float32]:
    """Logits [N,s,s] in every pixel of the image: all of them exceed minus infinity."""
    return np.stack([upscale_above(each, frame=frame, threshold=-np.inf)[1] for each in logits])


@given(
    height=st.integers(1, 400),
    width=st.integers(1, 400),
    seed=st.integers(0, 2**32 - 1),
    spread=st.floats(0.1, 3),
)
def test_the_part_holds_all_that_is_above(
    height: int, width: int, seed: int, spread: float
) -> None:
    """Sizes with a common divisor and without, masks of all extents and none."""
    rng = np.random.default_rng(seed)
    frame = Frame.fit(height, width, resolution=64)
    y, x = rng.uniform(0, 16, 2)
    rows, columns = np.mgrid[:16, :16]
    logits = (spread * 4 - np.hypot(rows - y, columns - x)).astype(np.float32)
    logits += rng.normal(0, 0.5, logits.shape).astype(np.float32)
    (rows_of, columns_of), part = upscale_above(logits, frame=frame, threshold=0.5)
    (whole,) = upscale_whole(logits[None], frame)
    assert part.shape == whole[rows_of, columns_of].shape
    found = np.full_like(whole, 0.5)
    found[rows_of, columns_of] = np.maximum(part, 0.5)
    np.testing.assert_allclose(found, np.maximum(whole, 0.5), atol=1e-4)


def test_only_a_part_is_computed() -> None:
    logits = np.full((64, 64), -5.0, dtype=np.float32)
    logits[10:14, 20:30] = 5.0
    frame = Frame.fit(3000, 4000, resolution=256)
    (rows, columns), part = upscale_above(logits, frame=frame, threshold=0.0)
    assert part.size < 0.1 * 3000 * 4000
    assert (rows.start, columns.start) <= (10 * 62, 20 * 62)
    empty, nothing = upscale_above(logits, frame=frame, threshold=9.0)
    assert nothing.shape == (0, 0)
    assert empty == (slice(0, 0), slice(0, 0))
