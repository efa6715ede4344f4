"""An image in the model's square without the padding, where the graphs allow it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from samclip_sdk.image.frame import Frame, covered_cells
from samclip_sdk.runtimes.session import Session

Array = NDArray[np.float32]


def takes_rectangles(session: Session) -> bool:
    """Whether a graph of images, or of prompts, has open sides."""
    return any(isinstance(side, str) for each in session.inputs for side in each.shape[2:])


def covered_pixels(frame: Frame, *, step: int) -> tuple[int, int]:
    """The rows and columns of the model's input that hold the image, in whole steps."""
    rows, columns = covered_cells(frame, side=frame.resolution // step)
    return rows * step, columns * step


def restore_patches(patches_bnc: Array, *, cells: tuple[int, int], grid: int) -> Array:
    """Puts patch embeddings [1,h*w,E] of h x w cells into the square: [1,g*g,E], 0 in padding."""
    rows, columns = cells
    square = np.zeros((1, grid, grid, patches_bnc.shape[-1]), dtype=np.float32)
    square[:, :rows, :columns] = patches_bnc.reshape(1, rows, columns, -1)
    return square.reshape(1, grid * grid, -1)


def restore_masks(masks_kthw: Array, *, side: int) -> Array:
    """Repeats the last row and column of masks [K,T,4h,4w] in the padding: [K,T,side,side]."""
    rows, columns = masks_kthw.shape[-2:]
    if (rows, columns) == (side, side):
        return masks_kthw
    around = ((0, 0), (0, 0), (0, side - rows), (0, side - columns))
    return np.pad(masks_kthw, around, mode="edge")
