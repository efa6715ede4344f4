"""Score map -> the parts of a label: cells that are connected, each part with its box.

Pure functions of numpy arrays. Both text-to-mask and its instances begin with them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from samclip_sdk.bundle.manifest import Calibration
from samclip_sdk.engine.options import TextToMaskOptions
from samclip_sdk.picture.frame import Frame, covered_cells
from samclip_sdk.picture.prompts import Prompts, text_prompts

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


MASK_PROMPT_LIMIT = 10.0
"""Bound of the mask prompt's logits; the padding holds its negative."""


@dataclass(frozen=True)
class FoundLabels:
    """Where K labels are in an image.

    Attributes:
        score_maps: float32 [K,h,h], logits; their sigmoid is what thresholds are compared with.
        presence: float32 [K], 0..1, the probability that each label is in the image.
        present: int32 [P], ascending, the places of those that are.
    """

    score_maps: Array
    presence: Array
    present: NDArray[np.int32]


@dataclass(frozen=True)
class LabelPrompts:
    """What the mask decoder is asked for the P labels that are in the image.

    Attributes:
        prompts: P of them.
        points: P arrays float32 [n,2], the points of each in model pixels.
        maps: float32 [P,4g,4g], the labels' scores.
    """

    prompts: Prompts
    points: Sequence[Array]
    maps: Array


def find_labels(
    patch_embeddings: Array,
    *,
    text_embeddings: Array,
    frame: Frame,
    calibration: Calibration,
    threshold: float,
) -> FoundLabels:
    """Looks for labels in the patches of an image.

    Args:
        patch_embeddings: [1,h*h,E], unit length.
        text_embeddings: [K,E], unit length.
        frame: where the image lies in the model's input.
        calibration: of the scores.
        threshold: 0..1, the presence from which on a label is in the image.
    """
    maps = score_maps(patch_embeddings, text_embeddings=text_embeddings, calibration=calibration)
    presence = presence_of(maps, frame=frame)
    return FoundLabels(maps, presence, np.flatnonzero(presence >= threshold).astype(np.int32))


def score_maps(
    patch_embeddings: Array, *, text_embeddings: Array, calibration: Calibration
) -> Array:
    """Scores every patch against every label: s = scale * (cos - bias).

    Args:
        patch_embeddings: [1,h*h,E], unit length.
        text_embeddings: [K,E], unit length.
        calibration: its scale and bias.

    Returns:
        float32 [K,h,h], logits; their sigmoid is what thresholds are compared with.
    """
    patches = patch_embeddings[0]
    side = math.isqrt(len(patches))
    # One product for each label: in a single matrix product the last bits of a label's scores
    # would depend on how many labels stand beside it.
    cosines = np.stack([patches @ embedding for embedding in text_embeddings])
    scale, bias = np.float32(calibration.scale), np.float32(calibration.bias)
    maps: Array = (scale * (cosines - bias)).astype(np.float32)
    return maps.reshape(-1, side, side)


def presence_of(maps: Array, *, frame: Frame) -> Array:
    """The probability that each label is in the image: the highest score outside the padding.

    Args:
        maps: score maps [K,h,h].
        frame: where the image lies in the model's input.

    Returns:
        float32 [K], 0..1.
    """
    rows, columns = covered_cells(frame, side=maps.shape[-1])
    return sigmoid(maps[:, :rows, :columns].max(axis=(1, 2)))


def highest_presence(
    patch_embeddings: Array, *, text_embeddings: Array, frame: Frame, calibration: Calibration
) -> Array:
    """As `presence_of` the labels' score maps, of thousands of labels in one matrix product.

    Its last bits may depend on how many labels are asked.

    Returns:
        float32 [K], 0..1.
    """
    patches = patch_embeddings[0]
    side = math.isqrt(len(patches))
    rows, columns = covered_cells(frame, side=side)
    inside = patches.reshape(side, side, -1)[:rows, :columns].reshape(rows * columns, -1)
    best = (text_embeddings @ inside.T).max(axis=1)
    return sigmoid(np.float32(calibration.scale) * (best - np.float32(calibration.bias)))


def best_points(score_map: Array, *, frame: Frame, count: int, threshold: float) -> Array:
    """The cells that score best, of those above a threshold; the best alone where none is.

    Of equal ones, the first from the top left, row by row.

    Args:
        score_map: [h,h].
        frame: where the image lies; no point falls in its padding.
        count: how many points at most.
        threshold: 0..1, what a cell's sigmoid(s) must exceed.

    Returns:
        float32 [n,2], 1 <= n <= count, (x, y) in model pixels: centres of cells.
    """
    side = score_map.shape[-1]
    rows, columns = covered_cells(frame, side=side)
    scores = score_map[:rows, :columns].ravel()
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
    # SAM's coordinates name a pixel's corner; the graph adds the half pixel to its centre.
    centres = (np.stack([columns, rows], axis=-1) + 0.5) * (frame.resolution / side) - 0.5
    limit = (frame.resized_width_px - 1, frame.resized_height_px - 1)
    points: Array = np.minimum(centres, limit).astype(np.float32)
    return points


def mask_prompt(score_map: Array, *, frame: Frame, side: int, scale: float = 1.0) -> Array:
    """Turns a score map into SAM's mask prompt.

    Args:
        score_map: [h,h].
        frame: where the image lies in the model's input.
        side: 4g, the side of the prompt.
        scale: of the scores.

    Returns:
        float32 [side,side]: the scaled scores clipped to +-10, bilinear (half-pixel), -10 in the
        padding.
    """
    clipped = np.clip(np.float32(scale) * score_map, -MASK_PROMPT_LIMIT, MASK_PROMPT_LIMIT)
    prompt: Array = cv2.resize(  # type: ignore[assignment]  # cv2 types any array
        extend_into_padding(clipped, frame=frame), (side, side), interpolation=cv2.INTER_LINEAR
    )
    rows, columns = covered_cells(frame, side=side)
    prompt[rows:] = -MASK_PROMPT_LIMIT
    prompt[:, columns:] = -MASK_PROMPT_LIMIT
    return prompt


def extend_into_padding(maps: Array, *, frame: Frame) -> Array:
    """Repeats the image's last row and column of scores [...,h,h] into the padding.

    What the model says about padding means nothing; left there, interpolation would carry it
    across the image's edge.
    """
    side = maps.shape[-1]
    rows, columns = covered_cells(frame, side=side)
    row, column = (np.minimum(np.arange(side), last - 1) for last in (rows, columns))
    return maps[..., row[:, None], column]


def label_prompts(
    found: FoundLabels,
    *,
    frame: Frame,
    options: TextToMaskOptions,
    calibration: Calibration,
    mask_side: int,
) -> LabelPrompts:
    """What the mask decoder is asked for each label that is there.

    The box around all of its parts, their best cells as points, and the label's scores as a mask.

    Args:
        found: where the labels are.
        frame: where the image lies in the model's input.
        options: how many points.
        calibration: which cells belong to a part, and how a score map becomes a mask prompt.
        mask_side: 4g.
    """
    threshold = calibration.mask_threshold_score
    points, corners, masks, maps = [], [], [], []
    for score_map in found.score_maps[found.present]:
        parts = find_parts(
            score_map,
            frame=frame,
            threshold=threshold,
            presence_threshold=calibration.presence_threshold,
        )
        best, box = points_and_box(
            score_map,
            cells=parts > 0,
            frame=frame,
            count=options.points_per_class,
            threshold=threshold,
        )
        points.append(best)
        corners.append(box)
        scale = calibration.prompt_scale
        masks.append(mask_prompt(score_map, frame=frame, side=mask_side, scale=scale))
        maps.append(mask_prompt(score_map, frame=frame, side=mask_side))
    prompts = text_prompts(points, corners=np.stack(corners), mask_input=np.stack(masks))
    return LabelPrompts(prompts, points, np.stack(maps))


def points_and_box(
    score_map: Array, *, cells: NDArray[np.bool_], frame: Frame, count: int, threshold: float
) -> tuple[Array, Array]:
    """The points and the box that the mask decoder is given for a label: the rule of points.

    Points are the best of some cells, as `best_points` has them; the box is the one around all of
    them. The rule is written again, or relied on, in these places, which change with it:

    * `export/apps/text_to_mask.py`, in torch: the graph that phones run. A change is another
      edition of `bundle.manifest.TextToMaskSpec`.
    * `export/apps/goldens.py` and `samclip_sdk/device/goldens/app_checks.py`: every bundle pins its
      points to 1e-3 px, so that those exported before a change fail `samclip verify`.
    * `training/tasks/label_prompts.py`: the decoder is trained on these prompts.
    * `examples/ios/SamClip/Sources/SamClip/ScoreMap.swift` and
      `examples/android/samclip-core/src/main/kotlin/samclip/ScoreMap.kt`.

    Args:
        score_map: [h,h], logits.
        cells: bool [h,h], those of the label's parts.
        frame: where the image lies.
        count: how many points at most.
        threshold: 0..1, what the sigmoid of a point's score must exceed, but for the best one.

    Returns:
        Points float32 [n,2] and corners float32 [2,2], in model pixels.
    """
    own = np.where(cells, score_map, -np.inf)
    points = best_points(own, frame=frame, count=count, threshold=threshold)
    return points, part_corners(cells, frame=frame)
