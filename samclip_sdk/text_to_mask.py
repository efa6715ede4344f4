"""Text to mask (paper section 3.4): score map -> presence gate -> points and mask prompt -> masks.

Pure functions of numpy arrays; whoever holds the decoder passes it in as `decode`. A label's
score map, presence, points and mask never depend on which other labels were asked: each label is
computed on its own (one matrix-vector product, one random stream), and labels meet only in the
class map.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from samclip_sdk.image import Frame
from samclip_sdk.prompts import Prompts, text_prompts

Array = NDArray[np.float32]

BACKGROUND = -1
"""What the class map holds where no label's mask is."""

MASK_PROMPT_LIMIT = 10.0
"""Bound of the mask prompt's logits; the padding holds its negative."""


def score_maps(
    patch_embeddings: Array, *, text_embeddings: Array, scale: float, bias: float
) -> Array:
    """Scores every patch against every label: s = scale * (cos - bias).

    Args:
        patch_embeddings: [1,h*h,E], unit length.
        text_embeddings: [K,E], unit length.
        scale: the calibration's a.
        bias: the calibration's b.

    Returns:
        float32 [K,h,h], logits; their sigmoid is what thresholds are compared with.
    """
    patches = patch_embeddings[0]
    side = math.isqrt(len(patches))
    # One product for each label: in a single matrix product the last bits of a label's scores
    # would depend on how many labels stand beside it.
    cosines = np.stack([patches @ embedding for embedding in text_embeddings])
    maps: Array = (np.float32(scale) * (cosines - np.float32(bias))).astype(np.float32)
    return maps.reshape(-1, side, side)


def presence(maps: Array, *, frame: Frame) -> Array:
    """The probability that each label is in the image: the highest score outside the padding.

    Args:
        maps: score maps [K,h,h].
        frame: where the image lies in the model's input.

    Returns:
        float32 [K], 0..1.
    """
    rows, columns = covered_cells(frame, side=maps.shape[-1])
    return _sigmoid(maps[:, :rows, :columns].max(axis=(1, 2)))


def sample_points(
    score_map: Array, *, frame: Frame, label: str, count: int, threshold: float, seed: int
) -> Array:
    """Draws points at random among the cells that score above a threshold, by confidence.

    Without replacement; the best cell alone where none exceeds the threshold. The stream depends
    on `seed` and `label` only.

    Args:
        score_map: [h,h].
        frame: where the image lies; no point falls in its padding.
        label: the label's text.
        count: how many points to draw at most.
        threshold: 0..1, what a cell's sigmoid(s) must exceed.
        seed: any integer >= 0.

    Returns:
        float32 [n,2], 1 <= n <= count, (x, y) in model pixels: centres of cells.
    """
    side = score_map.shape[-1]
    rows, columns = covered_cells(frame, side=side)
    confidence = _sigmoid(score_map[:rows, :columns].ravel().astype(np.float64))
    # Efraimidis and Spirakis: the largest log(u) / weight are a weighted draw without replacement.
    uniform = _label_generator(label, seed=seed).random((side, side))[:rows, :columns].ravel()
    keys = np.log1p(-uniform) / np.maximum(confidence, 1e-12)
    candidates = np.flatnonzero(confidence > threshold)
    if not len(candidates):
        candidates = np.array([confidence.argmax()])
    order = np.argsort(-keys[candidates], kind="stable")
    y, x = np.divmod(candidates[order[:count]], columns)
    # SAM's coordinates name a pixel's corner; the graph adds the half pixel to its centre.
    centres = (np.stack([x, y], axis=-1) + 0.5) * (frame.resolution / side) - 0.5
    limit = (frame.resized_width_px - 1, frame.resized_height_px - 1)
    points: Array = np.minimum(centres, limit).astype(np.float32)
    return points


def mask_prompt(score_map: Array, *, frame: Frame, side: int) -> Array:
    """Turns a score map into SAM's mask prompt.

    Args:
        score_map: [h,h].
        frame: where the image lies in the model's input.
        side: 4g, the side of the prompt.

    Returns:
        float32 [side,side]: the scores clipped to +-10, bilinear (half-pixel), -10 in the padding.
    """
    clipped = np.clip(score_map, -MASK_PROMPT_LIMIT, MASK_PROMPT_LIMIT)
    prompt: Array = cv2.resize(  # type: ignore[assignment]
        extend_into_padding(clipped, frame=frame), (side, side), interpolation=cv2.INTER_LINEAR
    )
    rows, columns = covered_cells(frame, side=side)
    prompt[rows:] = -MASK_PROMPT_LIMIT
    prompt[:, columns:] = -MASK_PROMPT_LIMIT
    return prompt


def extend_into_padding(score_map: Array, *, frame: Frame) -> Array:
    """Repeats the image's last row and column of scores [h,h] into the padding.

    What the model says about padding means nothing; left there, interpolation would carry it
    across the image's edge.
    """
    side = score_map.shape[-1]
    rows, columns = covered_cells(frame, side=side)
    return np.pad(score_map[:rows, :columns], ((0, side - rows), (0, side - columns)), mode="edge")


def covered_cells(frame: Frame, *, side: int) -> tuple[int, int]:
    """Rows and columns that hold any image pixel, in a map of side x side over the model's input.

    The same rule as the token mask's, at any side; the image is at the top left.
    """
    rows = -(-frame.resized_height_px * side // frame.resolution)
    columns = -(-frame.resized_width_px * side // frame.resolution)
    return rows, columns


def refine(
    maps: Array,
    *,
    labels: Sequence[str],
    frame: Frame,
    points_per_class: int,
    threshold: float,
    mask_side: int,
    seed: int,
    decode: Callable[[Prompts], tuple[Array, Array]],
) -> tuple[Array, Array, list[Array]]:
    """Asks the mask decoder for the mask of each label, with points and mask from its score map.

    Args:
        maps: score maps [P,h,h] of the labels that are in the image.
        labels: their texts.
        frame: where the image lies in the model's input.
        points_per_class: points drawn for each label, at most.
        threshold: 0..1, what a cell must exceed to be drawn.
        mask_side: 4g.
        seed: of the draw.
        decode: prompts to low_res_masks [P,4,4g,4g] and iou_predictions [P,4].

    Returns:
        low_res logits [P,4g,4g] and predicted IoU [P], both of decoder token 0, and the points of
        each label, [n,2] in model pixels.
    """
    points = [
        sample_points(
            score_map,
            frame=frame,
            label=label,
            count=points_per_class,
            threshold=threshold,
            seed=seed,
        )
        for score_map, label in zip(maps, labels, strict=True)
    ]
    masks = np.stack([mask_prompt(each, frame=frame, side=mask_side) for each in maps])
    low_res, iou = decode(text_prompts(points, mask_input=masks))
    return low_res[:, 0], iou[:, 0], points


def compose(
    logits: Iterable[Array],
    *,
    indices: Sequence[int],
    height_px: int,
    width_px: int,
    mask_threshold: float,
) -> tuple[NDArray[np.bool_], NDArray[np.int16]]:
    """Thresholds each label's logits, and gives every pixel to its highest label.

    One label's full-size logits are alive at a time.

    Args:
        logits: [H,W] for each present label.
        indices: the place of each of them among all labels asked.
        height_px: H.
        width_px: W.
        mask_threshold: the logit a pixel must exceed.

    Returns:
        masks bool [P,H,W] and class map int16 [H,W], which holds an index or `BACKGROUND`.
    """
    masks = np.zeros((len(indices), height_px, width_px), dtype=bool)
    class_map = np.full((height_px, width_px), BACKGROUND, dtype=np.int16)
    best = np.full((height_px, width_px), mask_threshold, dtype=np.float32)
    for mask, index, logit in zip(masks, indices, logits, strict=True):
        np.greater(logit, np.float32(mask_threshold), out=mask)
        class_map[logit > best] = index
        np.maximum(best, logit, out=best)
    return masks, class_map


def logit(probability: float) -> float:
    """The inverse of the sigmoid."""
    return math.log(probability / (1 - probability))


def _label_generator(label: str, *, seed: int) -> np.random.Generator:
    """A random stream for one label, whatever its place and its neighbours."""
    digest = hashlib.sha256(label.encode("utf-8")).digest()
    return np.random.default_rng([seed, *np.frombuffer(digest, dtype="<u4").tolist()])


def _sigmoid(x: NDArray[np.floating]) -> Array:
    """1 / (1 + exp(-x)), without overflow."""
    y: Array = (0.5 * (1 + np.tanh(0.5 * x))).astype(np.float32)
    return y
