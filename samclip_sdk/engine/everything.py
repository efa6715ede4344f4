"""Everything in an image: each point of a grid gets three masks, and the good ones stay.

The parameters and their meanings are those of segment-anything's SamAutomaticMaskGenerator, with
one crop, the image. Of a fine grid, the points that promise nothing new are left out, as
`point_grid` tells. `segment_everything` runs the steps, which are pure functions of numpy arrays.
They take a few prompts at a time, so that memory holds the logits of these only, and the bits of
the good masks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from samclip_sdk.bundle.manifest import Calibration, ModelInfo
from samclip_sdk.engine.engine import AnyImage, Engine
from samclip_sdk.engine.label_vectors import LabelVectors
from samclip_sdk.engine.objects import (
    FoundObject,
    compose_instances,
    distinct_boxes,
    model_masks,
    upscale_and_pack,
)
from samclip_sdk.engine.point_grid import PointGrid, encode_grid
from samclip_sdk.engine.proposed_masks import decode_proposals
from samclip_sdk.engine.regions import pool_over_mask, score_labels
from samclip_sdk.engine.views import encode_views, open_views
from samclip_sdk.errors import PromptError
from samclip_sdk.picture.frame import Frame, covered_cells
from samclip_sdk.picture.packed_masks import PackedMask, are_alike
from samclip_sdk.picture.tiles import Tiling, Window, is_cut
from samclip_sdk.results.image_embedding import ImageEmbedding
from samclip_sdk.results.instances import Instances
from samclip_sdk.system.arguments import check_integer, finite_number
from samclip_sdk.system.timing import Stopwatch
from samclip_sdk.text.word_table import Reading

Array = NDArray[np.float32]

MOST_POINTS_PER_SIDE = 1024

POINTS_PER_SIDE = 32
"""Of the grid for a model that proposes no boxes."""

_ROUGH_ERROR, _ROUGH_CELLS = 0.05, 64
"""How far the rough stability of a mask of so many cells is from the true one at most. Of 6,261
masks of samclip-mobile, no good one was left out by it."""


@dataclass(frozen=True)
class EverythingOptions:
    """The grid and the thresholds of good masks; see `SamClip.segment_everything`.

    Attributes:
        points_per_side: the grid's points along each side, from 1 to 1024; None stands for the
            boxes that the model proposes.
        pred_iou_thresh: a mask's predicted IoU must exceed it; 0 switches this off.
        stability_score_thresh: the least stability of a mask; 0 switches this off.
        stability_score_offset: how far the threshold is moved to measure stability, a logit.
        box_nms_thresh: the IoU with a better mask, or of the two boxes, above which a mask is
            dropped. Segment-anything compares boxes alone.

    Raises:
        PromptError: a value is invalid.
    """

    points_per_side: int | None
    pred_iou_thresh: float
    stability_score_thresh: float
    stability_score_offset: float
    box_nms_thresh: float

    def __post_init__(self) -> None:
        if self.points_per_side is not None:
            check_integer(self.points_per_side, name="points_per_side", least=1)
        if (self.points_per_side or 0) > MOST_POINTS_PER_SIDE:
            raise PromptError(
                f"points_per_side is {self.points_per_side}; it must be {MOST_POINTS_PER_SIDE} "
                "or less"
            )
        for name in ("pred_iou_thresh", "stability_score_thresh", "box_nms_thresh"):
            value = finite_number(getattr(self, name), name=name)
            if not 0 <= value <= 1:
                raise PromptError(f"{name} is {value:g}; it must be from 0 to 1")
        offset = finite_number(self.stability_score_offset, name="stability_score_offset")
        if offset < 0:
            raise PromptError(f"stability_score_offset is {offset:g}; it must be 0 or more")

    @classmethod
    def for_model(
        cls,
        info: ModelInfo,
        *,
        points_per_side: int | None,
        pred_iou_thresh: float | None,
        stability_score_thresh: float | None,
        stability_score_offset: float,
        box_nms_thresh: float,
    ) -> EverythingOptions:
        """Replaces the caller's None values by the model's own.

        These are its proposals, of whose masks all stay, or else a grid of 32 points along each
        side, of whose masks those stay that reach the calibrated thresholds.
        """
        proposed, own = points_per_side is None and info.model.proposes, info.calibration
        if points_per_side is None and not proposed:
            points_per_side = POINTS_PER_SIDE
        if pred_iou_thresh is None:
            pred_iou_thresh = 0.0 if proposed else own.pred_iou_thresh
        if stability_score_thresh is None:
            stability_score_thresh = 0.0 if proposed else own.stability_score_thresh
        return cls(
            points_per_side=points_per_side,
            pred_iou_thresh=pred_iou_thresh,
            stability_score_thresh=stability_score_thresh,
            stability_score_offset=stability_score_offset,
            box_nms_thresh=box_nms_thresh,
        )


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
    low_res: Array,
    *,
    iou_predictions: Array,
    patch_embeddings: Array | None,
    frame: Frame,
    mask_threshold: float,
    options: EverythingOptions,
) -> tuple[list[GoodMask], Array]:
    """The masks of a batch of prompts that pass the thresholds, in the prompts' order.

    Only one mask at a time has the image's size, and only if it may pass.

    Args:
        low_res: logits [K,T,4g,4g].
        iou_predictions: [K,T].
        patch_embeddings: the image's patches, [1,h*h,E]; None if masks get no names.
        frame: the image's frame.
        mask_threshold: the logit that a pixel must exceed.
        options: the thresholds.

    Returns:
        The masks, and the rough stability of all of them, [K,T].
    """
    offset = options.stability_score_offset
    rough, cells = rough_stability(
        low_res, frame=frame, mask_threshold=mask_threshold, offset=offset
    )
    stable = (rough >= options.stability_score_thresh - _ROUGH_ERROR) | (cells < _ROUGH_CELLS)
    likely = stable & (iou_predictions > (options.pred_iou_thresh or -np.inf))
    found = []
    for prompt, token in np.argwhere(likely).tolist():
        logits = low_res[prompt, token]
        packed, stability = upscale_and_pack(
            logits, frame=frame, mask_threshold=mask_threshold, stability_offset=offset
        )
        if packed.empty or stability < options.stability_score_thresh:
            continue
        embedding = None
        if patch_embeddings is not None:
            small = model_masks(logits, frame=frame, mask_threshold=mask_threshold)
            embedding = pool_over_mask(patch_embeddings, mask=small)
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
        box_nms_thresh: see `EverythingOptions`.

    Returns:
        The objects, the highest predicted IoU first.
    """
    if not found:
        return []
    order = sorted(range(len(found)), key=lambda i: (not found[i].from_tile, -found[i].score))
    ranks = np.empty(len(found), dtype=np.float32)
    ranks[order] = np.arange(len(found), 0, -1)
    kept = distinct_boxes(
        # segment-anything's boxes, and so its IoU, end at the last pixel, not behind it.
        np.stack([each.mask.box for each in found]) - np.array([0, 0, 1, 1], dtype=np.float32),
        scores=ranks,
        iou_threshold=box_nms_thresh,
    )
    distinct: list[GoodMask] = []
    for each in (found[place] for place in kept.tolist()):
        # A stray pixel makes another box of the same mask.
        if not any(are_alike(each.mask, other.mask, iou=box_nms_thresh) for other in distinct):
            distinct.append(each)
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


def segment_everything(
    engine: Engine,
    image: AnyImage,
    *,
    labels: Sequence[str] | None,
    allow_unknown: bool,
    options: EverythingOptions,
    tiling: Tiling | None,
    clock: Stopwatch,
) -> Instances:
    """Finds all objects, and names them by labels from `check_labels`.

    Without labels, the model's own nouns are the names; without nouns, objects have no names.
    """
    text: LabelVectors | None
    read_as: dict[str, Reading] = {}
    if labels is None:
        known = engine.known_words
        labels, text = (), None
        if known is not None:
            labels, text = known.words, LabelVectors.of(known.embeddings)
    else:
        text = engine.texts.embed_labels(labels, clock=clock)
        read_as = engine.texts.told(labels, clock=clock)
    views = open_views(engine, image, tiling=tiling, clock=clock)
    found: list[GoodMask] = []
    for view, embedding in encode_views(engine, views, clock=clock):
        good = _find_masks(engine, embedding, named=text is not None, options=options, clock=clock)
        found += good if view.size == views.size else uncut_masks(good, view=view, size=views.size)
    with clock.step("postprocess"):
        things = distinct_good_masks(
            found,
            text=text,
            thresholds=engine.label_thresholds(labels, allow_unknown=allow_unknown),
            calibration=engine.manifest.calibration,
            box_nms_thresh=options.box_nms_thresh,
        )
        result = compose_instances(things, labels=labels, size=views.size)
    return replace(result, speed=clock.ms, origin=views.whole.origin, read_as=read_as)


def _find_masks(
    engine: Engine,
    embedding: ImageEmbedding,
    *,
    named: bool,
    options: EverythingOptions,
    clock: Stopwatch,
) -> list[GoodMask]:
    """The masks of what the model proposes, or of a grid of points, that pass the thresholds."""
    patches = engine.patch_embeddings(embedding, clock=clock) if named else None
    points = options.points_per_side
    if points is None:
        return _proposed_masks(engine, embedding, patches=patches, options=options, clock=clock)
    return _grid_masks(engine, embedding, points, patches=patches, options=options, clock=clock)


def _proposed_masks(
    engine: Engine,
    embedding: ImageEmbedding,
    *,
    patches: Array | None,
    options: EverythingOptions,
    clock: Stopwatch,
) -> list[GoodMask]:
    """The masks of the boxes that the model proposes."""
    proposals, low_res, predicted_iou = decode_proposals(engine, embedding, clock=clock)
    found: list[GoodMask] = []
    with clock.step("postprocess"):
        for place, score in enumerate(proposals.scores.tolist()):
            masks, _ = good_masks(
                low_res[place, None, None],
                iou_predictions=predicted_iou[place, None, None],
                patch_embeddings=patches,
                frame=embedding.frame,
                mask_threshold=engine.manifest.masks.mask_threshold,
                options=options,
            )
            found += [replace(each, proposal_score=score) for each in masks]
    return found


def _grid_masks(
    engine: Engine,
    embedding: ImageEmbedding,
    points_per_side: int,
    *,
    patches: Array | None,
    options: EverythingOptions,
    clock: Stopwatch,
) -> list[GoodMask]:
    """The masks of a grid of points on an image that pass the thresholds."""
    frame = embedding.frame
    good = (options.stability_score_thresh, options.pred_iou_thresh)
    grid = PointGrid(points_per_side, good)
    prompts = encode_grid(engine, points_per_side=points_per_side, frame=frame, clock=clock)
    found: list[GoodMask] = []
    for places in grid.batches():
        low_res, iou_predictions = prompts.decode(engine, embedding, places, clock=clock)
        with clock.step("postprocess"):
            masks, stability = good_masks(
                low_res,
                iou_predictions=iou_predictions,
                patch_embeddings=patches,
                frame=frame,
                mask_threshold=engine.manifest.masks.mask_threshold,
                options=options,
            )
        found += masks
        grid.first_masks[places] = np.stack([stability[:, 0], iou_predictions[:, 0]], axis=-1)
    return found
