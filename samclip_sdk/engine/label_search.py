"""Finds labels in an image: score maps, presence, and the connected parts of a label."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from samclip_sdk.bundle.manifest import Calibration
from samclip_sdk.engine.label_vectors import LabelVectors
from samclip_sdk.image.frame import Frame, covered_cells
from samclip_sdk.image.upscale import sigmoid

Array = NDArray[np.float32]

Parts = NDArray[np.int32]


def find_parts(
    score_map: Array, *, frame: Frame, threshold: float, presence_threshold: float
) -> Parts:
    """The connected parts of the image that score above a threshold (8-connectivity).

    A part stays if one of its cells reaches the presence threshold. The best cell always belongs to
    a part, if necessary alone, because the label is known to be in the image.

    Args:
        score_map: [h,h], logits.
        frame: where the image lies; no part is in its padding.
        threshold: 0..1, a cell's sigmoid(s) must exceed it.
        presence_threshold: 0..1, the sigmoid(s) of one of a part's cells must reach it.

    Returns:
        int32 [h,h], the number of each cell's part, from 1; 0 for none.
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


@dataclass(frozen=True)
class FoundLabels:
    """The places of K labels in an image.

    Attributes:
        score_maps: float32 [K,h,h], logits; thresholds are compared with their sigmoid.
        presence: float32 [K], 0..1, the probability that each label is in the image.
        present: int32 [P], ascending, the indexes of the labels that are in the image.
    """

    score_maps: Array
    presence: Array
    present: NDArray[np.int32]


def find_labels(
    patch_embeddings: Array,
    *,
    text: LabelVectors,
    frame: Frame,
    calibration: Calibration,
    threshold: float | Array,
) -> FoundLabels:
    """Looks for labels in the patches of an image.

    Args:
        patch_embeddings: [1,h*h,E], unit length.
        text: of K labels.
        frame: where the image lies in the model's input.
        calibration: the calibration of the scores.
        threshold: 0..1, the least presence of a label that is in the image; [K], one for each.
    """
    maps = score_maps(patch_embeddings, text=text, calibration=calibration)
    presence = presence_of(maps, frame=frame)
    return FoundLabels(maps, presence, np.flatnonzero(presence >= threshold).astype(np.int32))


def score_maps(patches_bnc: Array, *, text: LabelVectors, calibration: Calibration) -> Array:
    """Scores every patch against every label: s = scale * (cos - bias).

    Args:
        patches_bnc: [1,h*h,E], unit length.
        text: of K labels.
        calibration: the scale and the bias.

    Returns:
        float32 [K,h,h], logits; thresholds are compared with their sigmoid.
    """
    patches = patches_bnc[0]
    side = math.isqrt(len(patches))
    cosines = text.cosines(patches)
    scale, bias = np.float32(calibration.scale), np.float32(calibration.bias)
    maps: Array = (scale * (cosines - bias)).astype(np.float32)
    return maps.reshape(-1, side, side)


def presence_of(maps_khw: Array, *, frame: Frame) -> Array:
    """The probability that each label is in the image: the highest score outside the padding.

    Args:
        maps_khw: score maps [K,h,h].
        frame: where the image lies in the model's input.

    Returns:
        float32 [K], 0..1.
    """
    rows, columns = covered_cells(frame, side=maps_khw.shape[-1])
    return sigmoid(maps_khw[:, :rows, :columns].max(axis=(1, 2)))


def highest_presence(
    patch_embeddings: Array, *, text: LabelVectors, frame: Frame, calibration: Calibration
) -> Array:
    """Computes `presence_of` for thousands of labels, many in one matrix product.

    The last bits may depend on how many labels are asked.

    Returns:
        float32 [K], 0..1.
    """
    patches = patch_embeddings[0]
    side = math.isqrt(len(patches))
    rows, columns = covered_cells(frame, side=side)
    inside = patches.reshape(side, side, -1)[:rows, :columns].reshape(rows * columns, -1)
    best = text.cosines_at_once(inside).max(axis=1)
    return sigmoid(np.float32(calibration.scale) * (best - np.float32(calibration.bias)))
