"""Changes of one cut-out: it is recoloured, turned, stretched, and painted over an image.

Colour is premultiplied by alpha, as `corpus` decodes it.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

_REPAINTED = 0.12  # of the cut-outs take on any hue; the rest keep near to their own


def warp(
    cutout: np.ndarray, rng: np.random.Generator, *, side_px: float, hues: bool = False
) -> np.ndarray:
    """Recolour, flip, stretch, shear and turn a cut-out so that its longest side is side_px.

    With `hues`, its hue turns too: a little, or all the way round.

    Returns:
        uint8 premultiplied RGBA, just large enough to hold the result.
    """
    height, width = cutout.shape[:2]
    while max(height, width) > 1.5 * side_px and min(height, width) > 2:
        # Bilinear sampling skips pixels when it shrinks by more than 2.
        height, width = (height + 1) // 2, (width + 1) // 2
    if (height, width) != cutout.shape[:2]:
        cutout = cv2.resize(cutout, (width, height), interpolation=cv2.INTER_AREA)
    cutout = _recolour(cutout, rng, hues=hues)
    flip, stretch, shear, upright, turn = rng.random(5).tolist()
    angle = (turn - 0.5) * math.pi * (0.3 if upright < 0.85 else 1.5)
    stretch = math.exp((stretch - 0.5) * 0.4)
    shear = (shear - 0.5) * 0.3
    scale = side_px / max(height / stretch, width * stretch)
    across = scale * stretch * (-1 if flip < 0.5 else 1)
    down = scale / stretch
    cos, sin = math.cos(angle), math.sin(angle)
    matrix = np.array([[across * cos, down * (shear * cos - sin)],
                       [across * sin, down * (shear * sin + cos)]])  # fmt: skip
    reach = np.abs(matrix) @ (width, height)
    out_w, out_h = (math.ceil(x) + 2 for x in reach)
    shift = np.array([out_w - 1, out_h - 1]) / 2 - matrix @ ((width - 1) / 2, (height - 1) / 2)
    affine = np.column_stack([matrix, shift])
    return cv2.warpAffine(cutout, affine, (out_w, out_h), flags=cv2.INTER_LINEAR)


def _recolour(cutout: np.ndarray, rng: np.random.Generator, *, hues: bool) -> np.ndarray:
    """Shift brightness, contrast, saturation, tint and, with `hues`, hue, all of them linear."""
    bright, *tint, saturation, lift = rng.random(6).tolist()
    gain = (0.75 + 0.5 * bright) * (0.9 + 0.2 * np.array(tint))
    saturation = 0.4 + saturation
    matrix = np.zeros((4, 4), np.float32)
    matrix[:3, :3] = np.eye(3) * saturation + (1 - saturation) / 3
    if hues:
        hue, repainted = rng.random(2).tolist()
        turn = (hue - 0.5) * math.pi * (2.0 if repainted < _REPAINTED else 0.4)
        matrix[:3, :3] @= _turn_hue(turn).astype(np.float32)
    matrix[:3, :3] *= gain[:, None]
    matrix[:3, 3] = (lift - 0.5) * 0.2
    matrix[3, 3] = 1
    out = cv2.transform(cutout, matrix)
    # Premultiplied colour above alpha would glow through the edge.
    return np.minimum(out, out[..., 3:])


def _turn_hue(angle: float) -> np.ndarray:
    """The rotation [3,3] of RGB by `angle` radians about the greys."""
    cos, sin = math.cos(angle), math.sin(angle) / math.sqrt(3)
    cross = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]])
    return cos * np.eye(3) + (1 - cos) / 3 + sin * cross


def paint_over(image: np.ndarray, patch: np.ndarray) -> None:
    """Porter and Duff's "over", in place: premultiplied RGBA [h,w,4] onto RGB [h,w,3]."""
    if not image.size:
        return
    rest = cv2.cvtColor(255 - patch[..., 3], cv2.COLOR_GRAY2RGB)
    image[:] = cv2.add(cv2.multiply(image, rest, scale=1 / 255), patch[..., :3])
