"""How an image moved: shifts that are known, and cuts."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from samclip_sdk.engine.video.motion import SIDE, find_motion


def texture(seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(0, 255, (300, 300), dtype=np.uint8)
    blurred = cv2.GaussianBlur(noise, (0, 0), 4)
    return cv2.normalize(blurred, None, 0, 255, cv2.NORM_MINMAX)


def at(x: int, y: int) -> np.ndarray:
    return np.ascontiguousarray(texture()[50 + y : 50 + y + SIDE, 50 + x : 50 + x + SIDE])


shifts = st.integers(-8, 8)


@given(x=shifts, y=shifts)
@settings(max_examples=20)
def test_a_shift_is_seen(x: int, y: int) -> None:
    """A window that goes to the right by x sees its image go to the left."""
    motion = find_motion(at(x, y), at(0, 0))
    assert not motion.cut
    inner = motion.back[20:-20, 20:-20].mean(axis=(0, 1))
    assert inner == pytest.approx([x, y], abs=0.3)
    mask = np.zeros((48, 48), dtype=bool)
    mask[16:32, 16:32] = True
    assert motion.speed(mask) * SIDE == pytest.approx([-x, -y], abs=0.3)
    assert not motion.speed(np.zeros_like(mask)).any()


def test_maps_move_with_the_image() -> None:
    maps = np.zeros((2, 48, 48), dtype=np.float32)
    maps[:, 20:28, 20:28] = [[[1]], [[3]]]
    moved = find_motion(at(8, -4), at(0, 0)).move(maps)  # two and one of the small pixels
    expected = np.roll(maps, (1, -2), axis=(1, 2))
    assert np.abs(moved - expected).max() < 0.5
    assert moved[1] == pytest.approx(3 * moved[0], abs=1e-5)
    assert find_motion(at(1, 1), at(0, 0)).move(maps[:0]).shape == (0, 48, 48)


def test_a_cut_is_seen_and_lasts() -> None:
    other = np.ascontiguousarray(texture(7)[:SIDE, :SIDE]) // 3
    cut, still = find_motion(other, at(0, 0)), find_motion(at(0, 0), at(0, 0))
    assert cut.cut
    assert not still.cut
    assert still.after(cut).cut
    assert cut.after(still).cut


def test_noise_is_no_cut() -> None:
    noise = np.random.default_rng(0).normal(scale=12, size=(SIDE, SIDE))
    noisy = np.clip(at(0, 0) + noise, 0, 255).astype(np.uint8)
    assert not find_motion(noisy, at(0, 0)).cut
