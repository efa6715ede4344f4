"""Checks the goldens of the letterbox: the SDK's own letterbox and the graph that apps run."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from samclip_sdk.device.goldens.check import Check, Tensors
from samclip_sdk.device.goldens.formula import formula_image
from samclip_sdk.device.goldens.schema import GoldenLetterbox
from samclip_sdk.image.loading import load_image

_ONE_LEVEL = 1.0
"""Pillow's resampling may differ by one of 255 levels between versions."""


def letterbox_image(golden: GoldenLetterbox, *, tensors: Tensors) -> NDArray[np.uint8]:
    """The image uint8 [H,W,3] to be letterboxed."""
    if golden.image is None:
        return formula_image(*golden.size)
    return load_image(tensors[golden.image].astype(np.uint8))


def check_letterbox(
    golden: GoldenLetterbox,
    square: NDArray[np.generic],
    *,
    extent: tuple[int, int],
    tensors: Tensors,
    by: str = "",
) -> Check:
    """Compares a model's input [1,3,S,S] in levels, and the part of it that the image covers.

    Args:
        golden: the golden of the letterbox.
        square: the model's input that was computed.
        extent: the number of its rows and columns that the image covers.
        tensors: the arrays of the goldens.
        by: the end of the check's name, such as " by letterbox@256".
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
