"""Everything in an image: the masks of what the model proposes, or of a grid of points.

Of a grid each point gets three masks, and the good ones stay. The parameters and their meanings are
those of segment-anything's SamAutomaticMaskGenerator, with one crop, the image. Of a fine grid, the
points that promise nothing new are left out, as `point_grid` tells. They take a few prompts at a
time, so that memory holds the logits of these only, and the bits of the good masks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from samclip_sdk.bundle.manifest import Calibration
from samclip_sdk.engine.label_vectors import LabelVectors
from samclip_sdk.engine.objects import (
    FoundObject,
    compose_rows,
    model_masks,
    upscale_and_pack,
)
from samclip_sdk.engine.one_pass import Pass
from samclip_sdk.engine.point_grid import PointGrid, encode_grid
from samclip_sdk.engine.proposed_masks import decode_proposals
from samclip_sdk.engine.queries import EverythingQuery
from samclip_sdk.engine.regions import pool_over_mask, score_labels
from samclip_sdk.engine.views import open_views
from samclip_sdk.image.frame import Frame, covered_cells
from samclip_sdk.image.packed_masks import PackedMask
from samclip_sdk.image.suppression import Boxes, Packed, suppress
from samclip_sdk.image.tiles import Window, is_cut
from samclip_sdk.results.named_masks import NamedMasks

Array = NDArray[np.float32]

_ROUGH_ERROR, _ROUGH_CELLS = 0.05, 64
"""How far the rough stability of a mask of so many cells is from the true one at most. Of 6,261
masks of samclip-mobile, no good one was left out by it."""


@dataclass(frozen=True)
class GoodMask:
    """A mask that passed the thresholds, before it is compared with others.

    Attributes:
        mask: the mask in the image; it is not empty.
        predicted_iou: above the threshold.
        stability_score: 0..1; see `upscale_and_pack`.
        embedding: float32 [E], pooled over the mask, unit length; None if masks get no names.
        from_tile: whether a tile of the image shows it.
        proposal_score: how likely its box shows one whole thing, if it was proposed; else 1.
    """

    mask: PackedMask
    predicted_iou: float
    stability_score: float
    embedding: Array | None
    from_tile: bool = False
    proposal_score: float = 1.0

    @property
    def score(self) -> float:
        """How good the mask is, 0..1."""
        return self.proposal_score * self.predicted_iou


def rough_stability(
    low_res: Array, *, frame: Frame, mask_threshold: float, offset: float
) -> tuple[Array, NDArray[np.intp]]:
    """The stability of masks at their own size, and how many cells the larger of the two masks has.

    It is close to what `upscale_and_pack` measures in the image, for a fraction of the work.

    Args:
        low_res: logits [...,4g,4g].
        frame: the image's frame.
        mask_threshold: the logit that a pixel must exceed.
        offset: how far the threshold is moved.

    Returns:
        float32 [...], 0..1, and int [...].
    """
    rows, columns = covered_cells(frame, side=low_res.shape[-1])
    shown = low_res[..., :rows, :columns]
    inner, outer = (
        np.count_nonzero(shown > np.float32(mask_threshold + moved), axis=(-2, -1))
        for moved in (offset, -offset)
    )
    return (inner / np.maximum(outer, 1)).astype(np.float32), outer


def good_masks(
    one: Pass,
    low_res: Array,
    iou_predictions: Array,
    *,
    patch_embeddings: Array | None,
    query: EverythingQuery,
) -> tuple[list[GoodMask], Array]:
    """The masks of a batch of prompts that pass the thresholds, in the prompts' order.

    Only one mask at a time has the image's size, and only if it may pass.

    Args:
        one: the pass over the image.
        low_res: logits [K,T,4g,4g].
        iou_predictions: [K,T].
        patch_embeddings: the image's patches, [1,h*h,E]; None if masks get no names.
        query: the thresholds.

    Returns:
        The masks, and the rough stability of all of them, [K,T].
    """
    frame, mask_threshold = one.frame, one.manifest.masks.mask_threshold
    minimum, offset = query.minimum(one.manifest), query.stability_score_offset
    rough, cells = rough_stability(
        low_res, frame=frame, mask_threshold=mask_threshold, offset=offset
    )
    stable = (rough >= minimum.stability_score - _ROUGH_ERROR) | (cells < _ROUGH_CELLS)
    likely = stable & (iou_predictions > (minimum.predicted_iou or -np.inf))
    found = []
    for prompt, token in np.argwhere(likely).tolist():
        logits = low_res[prompt, token]
        packed, stability = upscale_and_pack(
            logits, frame=frame, mask_threshold=mask_threshold, stability_offset=offset
        )
        if packed.empty or stability < minimum.stability_score:
            continue
        embedding = None
        if patch_embeddings is not None:
            small = model_masks(logits, frame=frame, mask_threshold=mask_threshold)
            embedding = pool_over_mask(patch_embeddings, mask_hw=small)
        predicted = float(iou_predictions[prompt, token])
        found.append(GoodMask(packed, predicted, stability, embedding))
    return found, rough


def uncut_masks(
    found: Sequence[GoodMask], *, view: Window, size: tuple[int, int]
) -> list[GoodMask]:
    """Keeps the masks that a tile does not cut, and moves them into the whole image.

    Another tile or the whole image shows a cut object. segment-anything's crops do the same.

    Args:
        found: the masks in the tile.
        view: where the tile lies in the image.
        size: height and width of the image.
    """
    moved = [
        replace(each, mask=each.mask.moved(top=view.rows.start, left=view.columns.start))
        for each in found
    ]
    return [
        replace(each, from_tile=True)
        for each in moved
        if not is_cut(each.mask, view=view, size=size)
    ]


def distinct_good_masks(
    found: Sequence[GoodMask],
    *,
    text: LabelVectors | None,
    thresholds: Array,
    calibration: Calibration,
    box_nms_thresh: float,
) -> list[FoundObject]:
    """Keeps one of the masks that show the same object, a tile's if there is one, and names it.

    Args:
        found: the masks of all prompts, in their order.
        text: of K labels; None without labels.
        thresholds: [K], the least score of each label.
        calibration: the calibration of the scores.
        box_nms_thresh: see `EverythingQuery`.

    Returns:
        The objects, the best first.
    """
    if not found:
        return []
    order = sorted(range(len(found)), key=lambda i: (not found[i].from_tile, -found[i].score))
    # segment-anything's boxes, and so its IoU, end at the last pixel, not behind it.
    boxes = np.stack([each.mask.box for each in found]) - np.array([0, 0, 1, 1], dtype=np.float32)
    apart = suppress(Boxes(boxes), order, same_iou=box_nms_thresh)
    # A stray pixel makes another box of the same mask.
    masks = Packed([each.mask for each in found], contained_share=None)
    distinct = [found[index] for index in suppress(masks, apart, same_iou=box_nms_thresh)]
    best = sorted(distinct, key=lambda each: -each.score)
    return [
        _named(each, text=text, thresholds=thresholds, calibration=calibration) for each in best
    ]


def _named(
    found: GoodMask, *, text: LabelVectors | None, thresholds: Array, calibration: Calibration
) -> FoundObject:
    """The object, with the best label if that fits as well as a label must to be in an image."""
    thing = FoundObject(
        found.mask,
        score=found.score,
        predicted_iou=found.predicted_iou,
        stability_score=found.stability_score,
    )
    if text is None or found.embedding is None:
        return thing
    fits = score_labels(found.embedding, text=text, calibration=calibration)
    best = int(np.where(fits >= thresholds, fits, -1).argmax())
    if fits[best] < thresholds[best]:
        return thing
    return replace(thing, label_index=best, label_score=float(fits[best]))


def segment_everything(one: Pass, query: EverythingQuery) -> NamedMasks:
    """Finds all objects, and names them by labels.

    Without labels, the model's own nouns are the names; without nouns, objects have no names.
    """
    labels, text = query.labels, None
    if labels is None:
        known = one.engine.known_words
        labels = () if known is None else known.words
        text = None if known is None else LabelVectors.of(known.embeddings)
    else:
        text = one.embed_labels(labels)
    views = open_views(one, query.tiling)
    found: list[GoodMask] = []
    for view, part in views.passes():
        good = _find_masks(part, query, named=text is not None)
        found += good if view.size == views.size else uncut_masks(good, view=view, size=views.size)
    with one.step("postprocess"):
        things = distinct_good_masks(
            found,
            text=text,
            thresholds=one.engine.label_thresholds(labels, allow_unknown=query.allow_unknown),
            calibration=one.calibration,
            box_nms_thresh=query.box_nms_thresh,
        )
        result = compose_rows(NamedMasks, things, labels=labels, size=views.size)
    return views.whole.signed(result, labels=query.labels or ())


def _find_masks(one: Pass, query: EverythingQuery, *, named: bool) -> list[GoodMask]:
    """The masks of what the model proposes, or of a grid of points, that pass the thresholds."""
    patches = one.patches if named else None
    points_per_side = query.grid(one.manifest)
    if points_per_side is None:
        return _proposed_masks(one, query, patches=patches)
    return _grid_masks(one, query, points_per_side=points_per_side, patches=patches)


def _proposed_masks(one: Pass, query: EverythingQuery, *, patches: Array | None) -> list[GoodMask]:
    proposals = one.proposals
    low_res, predicted_ious = decode_proposals(one, proposals)
    found: list[GoodMask] = []
    with one.step("postprocess"):
        for index, score in enumerate(proposals.scores.tolist()):
            own = slice(index, index + 1)
            masks, _ = good_masks(
                one, low_res[own], predicted_ious[own], patch_embeddings=patches, query=query
            )
            found += [replace(each, proposal_score=score) for each in masks]
    return found


def _grid_masks(
    one: Pass, query: EverythingQuery, *, points_per_side: int, patches: Array | None
) -> list[GoodMask]:
    minimum = query.minimum(one.manifest)
    grid = PointGrid(points_per_side, (minimum.stability_score, minimum.predicted_iou))
    prompts = encode_grid(one, points_per_side=points_per_side)
    found: list[GoodMask] = []
    for indices in grid.batches():
        low_res, iou_predictions = prompts.decode(one, indices)
        with one.step("postprocess"):
            masks, stability = good_masks(
                one, low_res, iou_predictions, patch_embeddings=patches, query=query
            )
        found += masks
        grid.first_masks[indices] = np.stack([stability[:, 0], iou_predictions[:, 0]], axis=-1)
    return found
