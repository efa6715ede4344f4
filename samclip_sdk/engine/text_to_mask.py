"""Text to mask (paper section 4.4): score map -> presence gate -> parts -> prompts -> masks.

Pure functions of numpy arrays; the engine calls them in this order and runs the decoder. A label's
score map, presence, points and mask never depend on which other labels were asked: each label is
computed on its own (one matrix-vector product), and labels meet only in the class map. The paper
asks once for a label, by points that it draws at random. Here each connected part of it is asked
for, by its box and its best cells.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from samclip_sdk.bundle.manifest import Calibration
from samclip_sdk.engine.label_parts import find_parts, part_corners, sigmoid
from samclip_sdk.engine.options import Options
from samclip_sdk.picture.frame import Frame, covered_cells
from samclip_sdk.picture.image import Picture
from samclip_sdk.picture.masks import without_specks
from samclip_sdk.picture.packed_masks import PackedMask, PackedMasks
from samclip_sdk.picture.prompts import Prompts, text_prompts
from samclip_sdk.picture.upscale import upscale_above
from samclip_sdk.results.text_masks import TextMasks

Array = NDArray[np.float32]

BACKGROUND = -1
"""What the class map holds where no label's mask is."""

MAX_LABELS = int(np.iinfo(np.int16).max)
"""How many labels a class map can tell apart."""

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


@dataclass(frozen=True)
class Drafts:
    """The masks of the P labels that are in the image, before they meet each other.

    Attributes:
        low_res: logits [P,s,s] in the model frame.
        scores: float32 [P], how good each mask is thought to be.
        points: P arrays float32 [n,2], the points that were given, in image pixels.
    """

    low_res: Array
    scores: Array
    points: Sequence[Array]


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
    options: Options,
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
    """The best of some cells [h,h], as `best_points` has them, and the corners of the box around.

    Returns:
        Points float32 [n,2] and corners float32 [2,2], in model pixels.
    """
    own = np.where(cells, score_map, -np.inf)
    points = best_points(own, frame=frame, count=count, threshold=threshold)
    return points, part_corners(cells, frame=frame)


def refined(
    low_res: Array,
    scores: Array,
    *,
    asked: LabelPrompts,
    frame: Frame,
    calibration: Calibration,
    mask_threshold: float,
) -> Drafts:
    """The mask decoder's masks of labels, with what the CLIP head says of each pixel.

    Specks go, and small holes are filled. The paper adds nothing to the decoder's logits.

    Args:
        low_res: its answers [P,1,4g,4g] to the prompts.
        scores: likewise, [P,1].
        asked: the prompts.
        frame: where the image lies in the model's input.
        calibration: what is added to the decoder's logits.
        mask_threshold: the logit that a pixel must exceed.
    """
    weight, bias = np.float32(calibration.map_weight), np.float32(calibration.mask_bias)
    joined = low_res[:, 0] + weight * asked.maps + bias
    return Drafts(
        low_res=np.stack([without_specks(each, mask_threshold=mask_threshold) for each in joined]),
        scores=scores[:, 0],
        points=[frame.to_image(each).astype(np.float32) for each in asked.points],
    )


def head_only(found: FoundLabels, *, frame: Frame) -> Drafts:
    """The CLIP head's own masks: its score maps; a mask's score is its presence."""
    return Drafts(
        low_res=extend_into_padding(found.score_maps[found.present], frame=frame),
        scores=found.presence[found.present],
        points=[np.zeros((0, 2), dtype=np.float32)] * len(found.present),
    )


def compose(
    drafts: Drafts,
    *,
    found: FoundLabels,
    labels: Sequence[str],
    frame: Frame,
    mask_threshold: float,
    speed: Mapping[str, float],
    picture: Picture | None,
) -> TextMasks:
    """Thresholds each present label's logits, and gives every pixel to its highest label.

    One label's logits are alive at a time, and only where they may exceed the threshold.

    Args:
        drafts: of the P present labels.
        found: where the labels are.
        labels: all K that were asked.
        frame: of the image.
        mask_threshold: the logit a pixel must exceed.
        speed: milliseconds by step, of a clock that may still run.
        picture: what the image was read from.
    """
    size = (frame.height_px, frame.width_px)
    masks = []
    class_map = np.full(size, BACKGROUND, dtype=np.int16)
    best = np.full(size, mask_threshold, dtype=np.float32)
    scores = np.zeros(len(labels), dtype=np.float32)
    points = [np.zeros((0, 2), dtype=np.float32)] * len(labels)
    for place, index in enumerate(found.present.tolist()):
        part, logits = upscale_above(drafts.low_res[place], frame=frame, threshold=mask_threshold)
        inside = logits > np.float32(mask_threshold)
        masks.append(PackedMask.pack(inside, top=part[0].start, left=part[1].start))
        highest = logits > best[part] if place else inside  # the first has no rival
        class_map[part][highest] = index
        np.maximum(best[part], logits, out=best[part])
        scores[index], points[index] = drafts.scores[place], drafts.points[place]
    return TextMasks(
        labels=labels,
        presence=found.presence,
        scores=scores,
        score_maps=found.score_maps,
        points=points,
        present_index=found.present,
        present_masks=PackedMasks(size, tuple(masks)),
        class_map=class_map,
        speed=speed,
        picture=picture,
    )
