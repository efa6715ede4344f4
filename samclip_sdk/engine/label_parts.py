"""Score map -> the parts of a label: cells that are connected, each part with its box.

Pure functions of numpy arrays. Both text-to-mask and its instances begin with them.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from samclip_sdk.picture.frame import Frame, covered_cells

Array = NDArray[np.float32]
Parts = NDArray[np.int32]


def find_parts(
    score_map: Array, *, frame: Frame, threshold: float, presence_threshold: float
) -> Parts:
    """The parts of the image that score above a threshold; neighbours by a corner are connected.

    Each holds a score that says that the label is in it, as the image does. The best cell is in one
    whatever it scores, if need be alone: the label is in the image.

    Args:
        score_map: [h,h], logits.
        frame: where the image lies; no part is in its padding.
        threshold: 0..1, what a cell's sigmoid(s) must exceed.
        presence_threshold: 0..1, what the sigmoid(s) of one of a part's cells must reach.

    Returns:
        int32 [h,h], which part each cell belongs to, from 1; 0 for none.
    """
    rows, columns = covered_cells(frame, side=score_map.shape[-1])
    inside = sigmoid(score_map[:rows, :columns])
    best = np.unravel_index(inside.argmax(), inside.shape)
    above = inside > threshold
    above[best] = True
    count, found = cv2.connectedComponents(above.view(np.uint8), connectivity=8)
    numbers = np.zeros(count, dtype=np.int32)
    there = np.append(found[above & (inside >= presence_threshold)], found[best])
    numbers[there] = there
    parts = np.zeros(score_map.shape, dtype=np.int32)
    parts[:rows, :columns] = numbers[found]
    return parts


def part_corners(cells: NDArray[np.bool_], *, frame: Frame) -> Array:
    """The box around cells [h,h] of a map, inside the image.

    Returns:
        float32 [2,2], the top left and the bottom right corner, (x, y) in model pixels.
    """
    (rows, columns), size_px = np.nonzero(cells), frame.resolution / cells.shape[-1]
    corners = [(columns.min(), rows.min()), (columns.max() + 1, rows.max() + 1)]
    limit = (frame.resized_width_px, frame.resized_height_px)
    inside: Array = np.minimum(np.array(corners) * size_px, limit).astype(np.float32)
    return inside


def sigmoid(x: NDArray[np.floating]) -> Array:
    """1 / (1 + exp(-x)), without overflow."""
    y: Array = (0.5 * (1 + np.tanh(0.5 * x))).astype(np.float32)
    return y
