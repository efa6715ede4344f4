"""The goldens of the letterbox, for the SDK's own and for the graph that apps run."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from samclip_sdk.device.goldens.check import Check, Tensors
from samclip_sdk.device.goldens.formula import formula_picture
from samclip_sdk.device.goldens.schema import GoldenLetterbox
from samclip_sdk.picture.image import load_image

_ONE_LEVEL = 1.0
"""Pillow's resampling may differ by one of 255 levels between versions."""


def letterbox_picture(golden: GoldenLetterbox, *, tensors: Tensors) -> NDArray[np.uint8]:
    """The picture uint8 [H,W,3] that is to be fitted."""
    if golden.image is None:
        return formula_picture(*golden.size)
    return load_image(tensors[golden.image].astype(np.uint8))


def check_letterbox(
    golden: GoldenLetterbox,
    square: NDArray[np.generic],
    *,
    extent: tuple[int, int],
    tensors: Tensors,
    by: str = "",
) -> Check:
    """Compares a model's input [1,3,S,S], and what the picture covers of it, in levels.

    Args:
        golden: what was to be fitted.
        square: what came out.
        extent: rows and columns of it that the picture covers.
        tensors: of the goldens.
        by: what fitted it, for the check's name.
    """
    found = square.reshape(-1)[:: golden.output.step].astype(np.int16)
    wanted = tensors[golden.output.tensor].reshape(-1).astype(np.int16)
    same = found.shape == wanted.shape and extent == golden.extent
    height, width = golden.size
    return Check(
        name=f"letterbox of {height} x {width} to {golden.resolution} px{by}",
        error=float(np.abs(found - wanted).max()) if same else math.inf,
        bound=_ONE_LEVEL,
    )
