"""The candidates for objects of a label: a prompt of the mask decoder for each peak of a score map.

Pure functions of numpy arrays.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from samclip_sdk.engine.label_points import cell_points
from samclip_sdk.engine.label_prompts import MASK_PROMPT_LIMIT, extend_into_padding, mask_prompt
from samclip_sdk.engine.label_search import Parts, find_parts
from samclip_sdk.picture.frame import Frame, covered_cells
from samclip_sdk.picture.model_prompts import FILLER, Prompts, assemble_prompts
from samclip_sdk.picture.upscale import sigmoid

Array = NDArray[np.float32]

MAX_CANDIDATES = 64
"""The most peaks that are followed for a label; the highest ones."""

PROMINENCE = 1.0
"""How far scores must fall between two objects, in logits: the odds fall to less than 2 in 5."""

MAX_POINTS = 15
"""The most points of a prompt: with SAM's padding token they fit the largest bucket, of 16."""


@dataclass(frozen=True)
class Candidates:
    """The n places where a label may have an object.

    Attributes:
        prompts: the n prompts of the mask decoder.
        maps: float32 [n,4g,4g], the scores of each candidate's component, as its mask prompt.
    """

    prompts: Prompts
    maps: Array


def find_peaks(score_map: Array, *, components: Parts, frame: Frame) -> NDArray[np.intp]:
    """Finds the peaks of components, in the slightly smoothed score map.

    Every path from a peak to a higher cell first goes down by `PROMINENCE`, because scores vary
    within an object too. Each component has at least one peak, unless `MAX_CANDIDATES` others are
    higher.

    Args:
        score_map: [h,h], logits.
        components: int32 [h,h], from `find_parts`.
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
    """Finds the indexes of the peaks among the cells [n,2] of a map, sorted from the highest down.

    This is a union-find from the top down, as in watershed segmentation: each cell joins the
    regions beside it. Where regions meet, the highest peak stays. A lower one stays only if it
    rises above the meeting cell by `PROMINENCE` or more.
    """
    place_of = {cell: place for place, cell in enumerate(map(tuple, cells.tolist()))}
    island: list[int] = []  # the union-find parent of each cell; a root is its region's peak
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
    points_per_class: int,
    mask_side: int,
) -> Candidates:
    """Makes the mask decoder's prompts for each peak of a label that is in the image.

    The peak is a foreground point. The mask prompt is the score map without other components. Other
    peaks may or may not be other objects, so if there are any, each peak has two prompts: one
    without the others, and one with the nearest of them as background points.

    Args:
        score_map: [h,h], logits.
        frame: where the image lies.
        threshold: 0..1, the score above which a cell may belong to an object.
        presence_threshold: 0..1, the score that an object must reach somewhere.
        points_per_class: the most foreground points of a peak: itself, and the best cells of its
            component that are nearer to it than to other peaks.
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
    cells = _own_cells(score_map, components=components, peaks=peaks, count=points_per_class)
    rows, columns = np.moveaxis(np.maximum(cells, 0), -1, 0)
    points = cell_points(rows, columns, frame=frame, side=score_map.shape[-1])
    coords, kinds = _points_of_each(points, given=cells[..., 0] >= 0)
    by_candidate = np.stack([maps[each] for each in own.tolist()] * (len(kinds) // len(peaks)))
    prompts = assemble_prompts(
        coords, kinds, corners=None, mask_input=by_candidate[:, None], has_mask=True
    )
    return Candidates(prompts, by_candidate)


def _own_cells(
    score_map: Array, *, components: Parts, peaks: NDArray[np.intp], count: int
) -> NDArray[np.intp]:
    """The cells of each peak's foreground points: the peak, then the best cells nearest to it.

    Returns:
        [n,m,2], (row, column), m <= count; -1 where a peak has fewer.
    """
    own = np.full((len(peaks), min(count, MAX_POINTS), 2), -1, dtype=np.intp)
    own[:, 0] = peaks
    if own.shape[1] == 1:
        return own
    cells = np.argwhere(components > 0)
    distances = ((cells[:, None] - peaks[None]) ** 2).sum(axis=-1).astype(np.float32)
    component = components[cells[:, 0], cells[:, 1]]
    distances[component[:, None] != components[peaks[:, 0], peaks[:, 1]]] = np.inf
    nearest = np.where(np.isfinite(distances).any(axis=1), distances.argmin(axis=1), -1)
    for place, peak in enumerate(peaks):
        others = cells[(nearest == place) & (cells != peak).any(axis=1)]
        order = np.argsort(-score_map[others[:, 0], others[:, 1]], kind="stable")
        best = others[order[: own.shape[1] - 1]]
        own[place, 1 : 1 + len(best)] = best
    return own


def _points_of_each(points: Array, *, given: NDArray[np.bool_]) -> tuple[Array, NDArray[np.int32]]:
    """The points of n prompts without other peaks, then of n prompts with the nearest others.

    Args:
        points: [n,m,2], each peak first.
        given: [n,m], whether there is a point.

    Returns:
        Coordinates [2n,P,2] and labels [2n,P]; [1,m,2] and [1,m] for a single peak.
    """
    peaks = points[:, 0]
    distances = ((peaks[:, None] - peaks[None]) ** 2).sum(axis=-1)
    np.fill_diagonal(distances, -1)
    order = np.argsort(distances, axis=1, kind="stable")[:, 1 : 1 + MAX_POINTS - points.shape[1]]
    own = np.where(given, 1, FILLER).astype(np.int32)
    alone = np.concatenate([own, np.full(order.shape, FILLER, dtype=np.int32)], axis=1)
    beside = np.concatenate([own, np.zeros(order.shape, dtype=np.int32)], axis=1)
    kinds = np.stack([alone] if len(peaks) == 1 else [alone, beside])
    every = np.concatenate([points, peaks[order]], axis=1)
    coords = np.where(kinds[..., None] == FILLER, 0, every[None])
    return np.concatenate(coords), np.concatenate(kinds)


def chosen_masks(
    low_res: Array, iou_predictions: Array, *, maps: Array, frame: Frame
) -> tuple[Array, Array]:
    """Chooses the best of the decoder's four masks for each candidate.

    The best one has the highest product of predicted IoU and soft IoU with the component's scores.

    Args:
        low_res: logits [n,4,4g,4g].
        iou_predictions: [n,4].
        maps: logits [n,4g,4g], from `Candidates`.
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
