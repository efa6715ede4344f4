"""Upscales low-resolution logits to the image, by SAM's two steps, and only where they matter.

The first step goes to the model's input. The second cuts off the padding and goes to the image.
Both are bilinear with half-pixel centres, without antialiasing. A bilinear value never exceeds its
neighbours, so the first step tells where no pixel of the image can be above a threshold.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from samclip_sdk.image.frame import Frame

Array = NDArray[np.float32]


def upscale_above(
    low_res: Array, *, frame: Frame, threshold: float
) -> tuple[tuple[slice, slice], Array]:
    """Upscales a part of a map that holds every pixel above a threshold.

    Args:
        low_res: logits [s,s] in the model frame.
        frame: the image's frame.
        threshold: no pixel outside the part exceeds it.

    Returns:
        The part's rows and columns in the image, and its logits, float32 [h,w].
    """
    model = _in_model(low_res, frame=frame)
    above = model > threshold
    from_rows, rows = _reached(np.logical_or.reduce(above, axis=1), full=frame.height_px)
    from_columns, columns = _reached(np.logical_or.reduce(above, axis=0), full=frame.width_px)
    size = (columns.stop - columns.start, rows.stop - rows.start)
    if not all(size):
        return (rows, columns), np.zeros((size[1], size[0]), dtype=np.float32)
    part = cv2.resize(model[from_rows, from_columns], size, interpolation=cv2.INTER_LINEAR)
    return (rows, columns), part  # type: ignore[return-value]  # cv2 types any array


def probabilities(low_res: Array, *, frame: Frame) -> Array:
    """The probability of each pixel of the image that it belongs to a mask.

    Args:
        low_res: logits [N,s,s] in the model frame.
        frame: the image's frame.

    Returns:
        float32 [N,H,W], 0..1: the sigmoid of the upscaled logits.
    """
    found = np.empty((len(low_res), frame.height_px, frame.width_px), dtype=np.float32)
    for each, own in zip(low_res, found, strict=True):
        _, logits = upscale_above(each, frame=frame, threshold=-math.inf)
        own[:] = sigmoid(logits)
    return found


def sigmoid(x: NDArray[np.floating]) -> Array:
    """1 / (1 + exp(-x)), without overflow."""
    y: Array = (0.5 * (1 + np.tanh(0.5 * x))).astype(np.float32)
    return y


def _in_model(low_res: Array, *, frame: Frame) -> Array:
    """Upscales a map [s,s] to the size of the model's input, and cuts off the padding."""
    square = (frame.resolution, frame.resolution)
    model = cv2.resize(low_res.astype(np.float32), square, interpolation=cv2.INTER_LINEAR)
    return model[: frame.resized_height_px, : frame.resized_width_px]  # type: ignore[return-value]  # cv2


def _reached(above: NDArray[np.bool_], *, full: int) -> tuple[slice, slice]:
    """The pixels of one axis that `above` reaches, in the model's input and in the image.

    Both ranges are multiples of the shortest piece that has whole pixels at both sizes. So the
    part has the same half-pixel centres as the whole.
    """
    pieces = math.gcd(len(above), full)
    source, target = len(above) // pieces, full // pieces
    hit = np.flatnonzero(above)
    if not len(hit):
        return slice(0, 0), slice(0, 0)
    # A pixel depends on its two neighbours: one more on either side.
    first = max(0, int(hit[0]) - 1) // source
    stop = min(pieces, -(-(int(hit[-1]) + 2) // source))
    return slice(first * source, stop * source), slice(first * target, stop * target)
