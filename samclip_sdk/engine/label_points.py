"""The rule of points: which points and which box the mask decoder is given for a label."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from samclip_sdk.image.frame import Frame, covered_cells
from samclip_sdk.image.upscale import sigmoid

Array = NDArray[np.float32]


def part_corners(cells_hw: NDArray[np.bool_], *, frame: Frame) -> Array:
    """The box around cells [h,h] of a map, inside the image.

    Returns:
        float32 [2,2], the top left and the bottom right corner, (x, y) in model pixels.
    """
    (rows, columns), size_px = np.nonzero(cells_hw), frame.resolution / cells_hw.shape[-1]
    corners = [(columns.min(), rows.min()), (columns.max() + 1, rows.max() + 1)]
    limit = (frame.resized_width_px, frame.resized_height_px)
    inside: Array = np.minimum(np.array(corners) * size_px, limit).astype(np.float32)
    return inside


def best_points(score_map_hw: Array, *, frame: Frame, count: int, threshold: float) -> Array:
    """The best cells above a threshold; if no cell is above it, the best cell alone.

    If cells are equal, the first one from the top left, row by row, is better.

    Args:
        score_map_hw: [h,h].
        frame: where the image lies; no point falls in its padding.
        count: the most points.
        threshold: 0..1, a cell's sigmoid(s) must exceed it.

    Returns:
        float32 [n,2], 1 <= n <= count, (x, y) in model pixels: centres of cells.
    """
    side = score_map_hw.shape[-1]
    rows, columns = covered_cells(frame, side=side)
    scores = score_map_hw[:rows, :columns].ravel()
    best = np.argsort(-scores, kind="stable")[:count]
    kept = max(1, int((sigmoid(scores[best]) > threshold).sum()))
    y, x = np.divmod(best[:kept], columns)
    return cell_points(y, x, frame=frame, side=side)


def cell_points(
    rows: NDArray[np.intp], columns: NDArray[np.intp], *, frame: Frame, side: int
) -> Array:
    """The centres of cells of a map of side x side, inside the image.

    Returns:
        float32 [n,2], (x, y) in model pixels.
    """
    # SAM's coordinates are a pixel's corner; the graph adds half a pixel to reach its centre.
    centres = (np.stack([columns, rows], axis=-1) + 0.5) * (frame.resolution / side) - 0.5
    limit = (frame.resized_width_px - 1, frame.resized_height_px - 1)
    points: Array = np.minimum(centres, limit).astype(np.float32)
    return points


def points_and_box(
    score_map: Array, *, cells: NDArray[np.bool_], frame: Frame, count: int, threshold: float
) -> tuple[Array, Array]:
    """The rule of points: the points and the box that the mask decoder gets for a label.

    The points are the best of the given cells, as `best_points` chooses them; the box surrounds all
    cells. These places repeat the rule or rely on it, and must change with it:

    * `export/apps/text_to_mask.py`, in torch: the graph that phones run. A change needs another
      edition of `bundle.manifest.TextToMaskSpec`.
    * `export/apps/goldens.py` and `samclip_sdk/device/goldens/app_checks.py`: every bundle pins its
      points to 1e-3 px, so that bundles exported before a change fail `samclip verify`.
    * `samclip_sdk/engine/label_prompts.py` and, since the decoder is trained on these prompts,
      `training/tasks/label_prompts.py`.
    * `examples/ios/SamClip/Sources/SamClip/ScoreMap.swift` and
      `examples/android/samclip-core/src/main/kotlin/samclip/ScoreMap.kt`.

    Args:
        score_map: [h,h], logits.
        cells: bool [h,h], the cells of the label's parts.
        frame: where the image lies.
        count: the most points.
        threshold: 0..1, the sigmoid of every point's score but the best must exceed it.

    Returns:
        Points float32 [n,2] and corners float32 [2,2], in model pixels.
    """
    own = np.where(cells, score_map, -np.inf)
    points = best_points(own, frame=frame, count=count, threshold=threshold)
    return points, part_corners(cells, frame=frame)
