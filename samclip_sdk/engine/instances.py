"""Score map -> the objects of a label: components, a prompt for each peak, and which masks stay.

Pure functions of numpy arrays; the engine calls them in this order and runs the decoder. Everything
is done for one label at a time, so that its objects never depend on which other labels are asked;
labels meet only where the picture's best objects are taken.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from samclip_sdk.bundle.manifest import Calibration
from samclip_sdk.engine.found_objects import FoundObject, Sighting
from samclip_sdk.engine.label_parts import Parts, find_parts, sigmoid
from samclip_sdk.engine.mask_pooling import pool_over_mask, score_labels
from samclip_sdk.engine.mask_selection import distinct_masks, in_image, pack_mask
from samclip_sdk.engine.text_to_mask import (
    MASK_PROMPT_LIMIT,
    cell_points,
    extend_into_padding,
    mask_prompt,
)
from samclip_sdk.picture.frame import Frame, covered_cells
from samclip_sdk.picture.masks import without_specks
from samclip_sdk.picture.prompts import FILLER, Prompts, assemble_prompts

Array = NDArray[np.float32]

MAX_CANDIDATES = 64
"""How many peaks of a label are followed, the highest ones."""

PROMINENCE = 1.0
"""How far scores must fall between two objects, a logit: the odds to less than 2 in 5."""

MAX_POINTS = 15
"""How many points a prompt has: with SAM's padding token it fits the largest bucket, of 16."""

SAME_IOU = 0.5
"""Two masks of a label that overlap more than this are one object."""

CONTAINED_SHARE = 0.8
"""A mask of which as much lies in better ones of its label is a part of one, or some in one."""

LEAST_SHARE = 0.05
"""What scores less than this share of its label's best object is no object, but a fragment."""

STABILITY_OFFSET = 1.0
"""segment-anything's own; in logits."""


@dataclass(frozen=True)
class Candidates:
    """Where a label may have n objects.

    Attributes:
        prompts: n of them, what the mask decoder is asked for each.
        maps: float32 [n,4g,4g], the scores of each one's component, as its mask prompt.
    """

    prompts: Prompts
    maps: Array


def find_peaks(score_map: Array, *, components: Parts, frame: Frame) -> NDArray[np.intp]:
    """The summits of components, in the map a little smoothed.

    A summit has no higher cell to climb to, unless by a way that goes down by `PROMINENCE` first:
    scores vary within an object too. Each component has one, unless there are more than
    `MAX_CANDIDATES` higher ones.

    Args:
        score_map: [h,h], logits.
        components: int32 [h,h], of `find_parts`.
        frame: where the image lies.

    Returns:
        [n,2], (row, column), the highest first, n <= `MAX_CANDIDATES`.
    """
    extended = np.ascontiguousarray(extend_into_padding(score_map, frame=frame))
    smooth: Array = cv2.GaussianBlur(  # type: ignore[assignment]  # cv2 types any array
        extended, (3, 3), 0, borderType=cv2.BORDER_REPLICATE
    )
    cells = np.argwhere(components > 0)
    heights = smooth[cells[:, 0], cells[:, 1]]
    order = np.argsort(-heights, kind="stable")
    summits = _summits(cells[order], heights=heights[order])
    return cells[order][summits[:MAX_CANDIDATES]]


def _summits(cells: NDArray[np.intp], *, heights: Array) -> list[int]:
    """The places of summits among the cells [n,2] of a map, which are given from the highest down.

    The water sinks: each cell that comes out of it joins the islands beside it, and of islands that
    become one, those whose summits are lower have lost them, if they were hardly out of the water.
    """
    place_of = {cell: place for place, cell in enumerate(map(tuple, cells.tolist()))}
    island: list[int] = []  # the place of a cell that is nearer to the island's summit, or itself
    summits = []

    def summit(place: int) -> int:
        while island[place] != place:
            island[place] = island[island[place]]
            place = island[place]
        return place

    for place, (row, column) in enumerate(place_of):
        island.append(place)
        beside = {
            summit(near)
            for y in (row - 1, row, row + 1)
            for x in (column - 1, column, column + 1)
            if (near := place_of.get((y, x), place)) < place
        }
        highest, *lower = [*sorted(beside), place]
        summits += [each for each in lower if heights[each] - heights[place] >= PROMINENCE]
        for each in lower:
            island[each] = highest
    alive = {summit(place) for place in range(len(cells))}
    return sorted(alive | set(summits))


def find_candidates(
    score_map: Array,
    *,
    frame: Frame,
    threshold: float,
    presence_threshold: float,
    mask_side: int,
) -> Candidates:
    """What the mask decoder is asked for each peak of a label that is in the image.

    The peak is a foreground point, and the scores are the mask prompt, without those of other
    components. If there are other peaks it is asked twice, since nobody knows yet whether they are
    other objects: without them, and with those nearest to it as background points.

    Args:
        score_map: [h,h], logits.
        frame: where the image lies.
        threshold: 0..1, the score above which a cell may belong to an object.
        presence_threshold: 0..1, the score that an object must reach somewhere.
        mask_side: 4g.
    """
    components = find_parts(
        score_map, frame=frame, threshold=threshold, presence_threshold=presence_threshold
    )
    peaks = find_peaks(score_map, components=components, frame=frame)
    own = components[peaks[:, 0], peaks[:, 1]]
    maps = {
        each: mask_prompt(
            np.where((components > 0) & (components != each), -MASK_PROMPT_LIMIT, score_map),
            frame=frame,
            side=mask_side,
        )
        for each in np.unique(own).tolist()
    }
    points = cell_points(peaks[:, 0], peaks[:, 1], frame=frame, side=score_map.shape[-1])
    coords, kinds = _points_of_each(points)
    by_candidate = np.stack([maps[each] for each in own.tolist()] * (len(kinds) // len(peaks)))
    prompts = assemble_prompts(
        coords, kinds, corners=None, mask_input=by_candidate[:, None], has_mask=True
    )
    return Candidates(prompts, by_candidate)


def _points_of_each(points: Array) -> tuple[Array, NDArray[np.int32]]:
    """For each of n points itself, then for each itself and the nearest others.

    Returns:
        Coordinates [2n,P,2] and labels [2n,P]; [1,1,2] and [1,1] of a point without others.
    """
    distances = ((points[:, None] - points[None]) ** 2).sum(axis=-1)
    np.fill_diagonal(distances, -1)
    order = np.argsort(distances, axis=1, kind="stable")[:, :MAX_POINTS]
    kinds = np.zeros((2, *order.shape), dtype=np.int32)
    kinds[0] = FILLER
    kinds[:, :, 0] = 1
    asked = slice(0, 1 if len(points) == 1 else 2)
    coords = np.where(kinds[..., None] == FILLER, 0, points[order])
    return np.concatenate(coords[asked]), np.concatenate(kinds[asked])


def chosen_masks(
    low_res: Array, iou_predictions: Array, *, maps: Array, frame: Frame
) -> tuple[Array, Array]:
    """Of the decoder's four masks the one that fits a candidate best.

    By the predicted IoU times the soft IoU with the component's scores.

    Args:
        low_res: logits [n,4,4g,4g].
        iou_predictions: [n,4].
        maps: logits [n,4g,4g], of `Candidates`.
        frame: where the image lies; its padding does not count.

    Returns:
        The logits [n,4g,4g] and predicted IoUs [n].
    """
    rows, columns = covered_cells(frame, side=low_res.shape[-1])
    fits = np.empty_like(iou_predictions)
    for place, logits in enumerate(low_res[..., :rows, :columns]):
        drawn, wanted = sigmoid(logits), sigmoid(maps[place, :rows, :columns])
        shared = np.minimum(drawn, wanted).sum(axis=(1, 2))
        fits[place] = shared / np.maximum(drawn, wanted).sum(axis=(1, 2))
    best = (np.maximum(iou_predictions, 0) * fits).argmax(axis=1)
    every = np.arange(len(best))
    return low_res[every, best], iou_predictions[every, best]


def distinct_objects(
    low_res: Array,
    predicted_ious: Array,
    *,
    patch_embeddings: Array,
    text_embedding: Array,
    label_index: int,
    frame: Frame,
    calibration: Calibration,
    mask_threshold: float,
) -> list[Sighting]:
    """Scores the masks of a label's candidates, and keeps one of each object.

    Args:
        low_res: logits [n,4g,4g].
        predicted_ious: [n].
        patch_embeddings: [1,h*h,E], unit length.
        text_embedding: [E], unit length.
        label_index: the place of the label among those asked.
        frame: of the image.
        calibration: of the scores.
        mask_threshold: the logit that a pixel must exceed.

    Returns:
        The objects, the best first.
    """
    clean = [without_specks(each, mask_threshold=mask_threshold) for each in low_res]
    low_res = np.array(clean, np.float32).reshape(low_res.shape)
    small = in_image(low_res, frame=frame, mask_threshold=mask_threshold)
    found = []
    for logits, mask, predicted in zip(low_res, small, predicted_ious.tolist(), strict=True):
        pooled = pool_over_mask(patch_embeddings, mask=mask)
        (fits,) = score_labels(pooled, texts=text_embedding[None], calibration=calibration).tolist()
        packed, stability = pack_mask(
            logits, frame=frame, mask_threshold=mask_threshold, stability_offset=STABILITY_OFFSET
        )
        score = fits * min(max(predicted, 0.0), 1.0) * stability
        shown = FoundObject(packed, score, predicted, stability, label_index, fits)
        found.append(Sighting(shown, logits, pooled))
    least = LEAST_SHARE * max((each.found.score for each in found), default=0.0)
    kept = [
        place
        for place, each in enumerate(found)
        if not each.found.mask.empty and each.found.score >= least
    ]
    distinct = distinct_masks(
        small[kept],
        scores=np.array([found[place].found.score for place in kept], dtype=np.float32),
        iou_threshold=SAME_IOU,
        contained_share=CONTAINED_SHARE,
    )
    return [found[kept[place]] for place in distinct.tolist()]


def best_objects(found: Iterable[FoundObject], *, at_most: int) -> list[FoundObject]:
    """The best objects of all labels, the best first; of equal ones, the first label's."""
    return sorted(found, key=lambda each: (-each.score, each.label_index))[:at_most]
