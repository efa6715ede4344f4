"""Backgrounds of composed scenes, and the effects of the camera on the whole scene."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import cv2
import numpy as np

PHOTO = 0.5  # share of the backdrops that are crops of photos


def draw_backdrop(
    photos: Sequence[np.ndarray], rng: np.random.Generator, *, size_px: int, plain: bool = False
) -> tuple[np.ndarray, int | None]:
    """Draws a photo crop, or a gradient, noise, stripes or one flat colour; `plain`, that only.

    Returns:
        uint8 RGB [S,S,3], the caller's to paint on, and which photo it is a crop of, if any.
    """
    if plain:
        return _flat(rng, size_px), None
    if photos and rng.random() < PHOTO:
        which = int(rng.integers(len(photos)))
        return _crop(photos[which], rng, size_px), which
    drawings = (_gradient, _noise, _stripes, _flat)
    return drawings[int(rng.integers(len(drawings)))](rng, size_px), None


def finish(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Camera effects on an image uint8 [S,S,3]: blur, gamma and grain; none moves an edge."""
    blurred, softness, gamma, grainy, grain = rng.random(5).tolist()
    if blurred < 0.25:
        image = cv2.GaussianBlur(image, (0, 0), 0.3 + 0.7 * softness * len(image) / 256)
    curve = (np.arange(256) / 255) ** math.exp((gamma - 0.5) * 0.8) * 255
    image = cv2.LUT(image, np.rint(curve).astype(np.uint8))
    if grainy < 0.4:
        strength = 0.5 * grain
        image = cv2.addWeighted(image, 1, _grain(rng, len(image)), strength, -128 * strength)
    return image


def _crop(photo: np.ndarray, rng: np.random.Generator, size_px: int) -> np.ndarray:
    height, width = photo.shape[:2]
    part, y, x, flip, shade = rng.random(5).tolist()
    side = int(min(height, width) * (0.3 + 0.7 * part))
    top, left = int(y * (height - side)), int(x * (width - side))
    crop = photo[top : top + side, left : left + side]
    shrink = cv2.INTER_AREA if side > size_px else cv2.INTER_LINEAR
    crop = cv2.resize(crop, (size_px, size_px), interpolation=shrink)
    if flip < 0.5:
        crop = cv2.flip(crop, 1)
    return cv2.convertScaleAbs(crop, alpha=0.6 + 0.7 * shade)


def _flat(rng: np.random.Generator, size_px: int) -> np.ndarray:
    image = np.empty((size_px, size_px, 3), np.uint8)
    # A third white or nearly so, as drawings and product photos have.
    image[:] = rng.integers(225, 256) if rng.random() < 0.33 else rng.integers(0, 256, 3)
    return image


def _gradient(rng: np.random.Generator, size_px: int) -> np.ndarray:
    corners = rng.integers(0, 256, (2, 2, 3), np.uint8)
    return cv2.resize(cv2.resize(corners, (8, 8)), (size_px, size_px))


def _noise(rng: np.random.Generator, size_px: int) -> np.ndarray:
    """Coarse blobs of colour plus finer ones."""
    cells = int(rng.integers(2, 9))
    coarse = rng.integers(0, 256, (cells, cells, 3), np.uint8)
    fine = rng.integers(0, 256, (cells * 6, cells * 6, 3), np.uint8)
    share = rng.random() * 0.6
    size = (size_px, size_px)
    coarse = cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC)
    return cv2.addWeighted(coarse, 1 - share, cv2.resize(fine, size), share, 0)


def _stripes(rng: np.random.Generator, size_px: int) -> np.ndarray:
    angle, width, phase = rng.random(3).tolist()
    angle *= math.pi
    width = size_px * (0.02 + 0.2 * width)
    colours = rng.integers(0, 256, (2, 3), np.uint8)
    along = np.arange(size_px, dtype=np.float32)
    position = along * math.cos(angle) + along[:, None] * math.sin(angle)
    stripe: np.ndarray = np.floor(position / width + 2 * phase).astype(np.int32) & 1
    return np.asarray(colours[stripe])


@cache
def _grain_sheet() -> np.ndarray:
    """Normal noise around 128, sigma 32, drawn once: drawing it anew costs more than the scene."""
    sheet = np.random.default_rng(0).normal(128, 32, (1024, 1024, 3))
    return np.clip(np.rint(sheet), 0, 255).astype(np.uint8)


def _grain(rng: np.random.Generator, size_px: int) -> np.ndarray:
    sheet = _grain_sheet()
    if size_px > len(sheet):
        return np.resize(sheet, (size_px, size_px, 3))
    top, left = rng.integers(0, len(sheet) - size_px + 1, 2).tolist()
    return sheet[top : top + size_px, left : left + size_px]
