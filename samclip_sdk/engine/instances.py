"""The objects of labels: a candidate for each part of a label's mask, without duplicates.

`segment_instances` runs the steps, which are pure functions of numpy arrays. Each label is computed
alone, so that its objects never depend on which other labels are asked. Labels meet only where the
image's best objects are chosen.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from samclip_sdk.bundle.manifest import Calibration
from samclip_sdk.engine.exclusive import exclusive_objects
from samclip_sdk.engine.label_search import FoundLabels, find_labels, score_maps
from samclip_sdk.engine.label_vectors import LabelVectors
from samclip_sdk.engine.object_candidates import Candidates, chosen_masks, find_candidates
from samclip_sdk.engine.object_score import Numbers, object_score
from samclip_sdk.engine.objects import (
    Detection,
    FoundObject,
    compose_rows,
    in_whole_image,
    merge_objects,
    model_masks,
    upscale_and_pack,
)
from samclip_sdk.engine.one_pass import Pass
from samclip_sdk.engine.options import TextToMaskOptions, default_min_score
from samclip_sdk.engine.proposed_masks import decode_proposals, proposals_on
from samclip_sdk.engine.queries import InstanceQuery
from samclip_sdk.engine.regions import label_share, pool_over_mask, score_labels
from samclip_sdk.engine.text_to_mask import draw_labels
from samclip_sdk.engine.views import Views, open_views
from samclip_sdk.image.frame import Frame
from samclip_sdk.image.masks import without_specks
from samclip_sdk.image.proposals import NO_PROPOSALS, Proposals, box_scores
from samclip_sdk.image.suppression import SAME_IOU, Planes, suppress
from samclip_sdk.image.tiles import Window
from samclip_sdk.image.upscale import sigmoid
from samclip_sdk.results.instances import Instances

Array = NDArray[np.float32]

MIN_SHARE = 0.05
"""A mask that scores less than this share of its label's best object is only a fragment."""

STABILITY_OFFSET = 1.0
"""segment-anything's default, in logits."""


def distinct_objects(
    low_res: Array,
    predicted_ious: Array,
    *,
    patch_embeddings: Array,
    text: LabelVectors,
    frame: Frame,
    calibration: Calibration,
    mask_threshold: float,
    proposals: Proposals = NO_PROPOSALS,
) -> list[Detection]:
    """Scores the masks of a label's candidates, and keeps one for each object.

    Args:
        low_res: logits [n,4g,4g].
        predicted_ious: [n].
        patch_embeddings: [1,h*h,E], unit length.
        text: of this label alone.
        frame: the image's frame.
        calibration: the calibration of the scores.
        mask_threshold: the logit that a pixel must exceed.
        proposals: the boxes that the image encoder proposes.

    Returns:
        The objects, the best first, without the label's index.
    """
    label_map = None
    if calibration.proposed_objects is not None:
        label_map = sigmoid(score_maps(patch_embeddings, text=text, calibration=calibration)[0])
    clean = [without_specks(each, mask_threshold=mask_threshold) for each in low_res]
    low_res = np.array(clean, np.float32).reshape(low_res.shape)
    small = model_masks(low_res, frame=frame, mask_threshold=mask_threshold)
    found = []
    for logits, mask, predicted in zip(low_res, small, predicted_ious.tolist(), strict=True):
        pooled = pool_over_mask(patch_embeddings, mask_hw=mask)
        (fits,) = score_labels(pooled, text=text, calibration=calibration).tolist()
        packed, stability = upscale_and_pack(
            logits, frame=frame, mask_threshold=mask_threshold, stability_offset=STABILITY_OFFSET
        )
        numbers = Numbers(fits, predicted, stability)
        if label_map is not None:
            (proposed,) = box_scores(packed.box[None], proposals).tolist()
            share = label_share(label_map, mask=mask, frame=frame)
            numbers = Numbers(fits, predicted, stability, proposed, share)
        score = object_score(numbers, calibration=calibration.object_score)
        shown = FoundObject(
            packed,
            score,
            predicted,
            stability,
            label_score=fits,
            proposal_score=numbers.proposal_score,
            label_share=numbers.label_share,
        )
        found.append(Detection(shown, logits, pooled))
    minimum = MIN_SHARE * max((each.found.score for each in found), default=0.0)
    kept = [
        index
        for index, each in enumerate(found)
        # A mask that lies only in the padding may leak a few pixels into the image.
        if not each.found.mask.empty and small[index].any() and each.found.score >= minimum
    ]
    scores = np.array([found[index].found.score for index in kept], dtype=np.float32)
    order = np.array(kept, dtype=np.intp)[np.argsort(-scores, kind="stable")].tolist()
    return [found[index] for index in suppress(Planes(small), order, same_iou=SAME_IOU)]


def best_objects(found: Iterable[FoundObject], *, max_count: int) -> list[FoundObject]:
    """The best objects of all labels, the best first; among equals, the first label's first."""
    return sorted(found, key=lambda each: (-each.score, each.label_index))[:max_count]


def segment_instances(one: Pass, query: InstanceQuery) -> Instances:
    """Finds the objects of labels, in the whole image and in its tiles."""
    text = one.embed_labels(query.labels)
    views = open_views(one, query.tiling)
    best = find_objects(views, text, one.options(query), max_instances=query.max_instances)
    with one.step("postprocess"):
        minimum = default_min_score(one.calibration, min_score=query.min_score)
        sure = [each for each in best if each.score >= minimum]
        result = compose_rows(Instances, sure, labels=query.labels, size=views.size)
        if query.exclusive:
            result = exclusive_objects(result)
    return views.whole.signed(result, labels=query.labels)


def find_objects(
    views: Views, text: LabelVectors, options: TextToMaskOptions, *, max_instances: int
) -> list[FoundObject]:
    """Finds the best objects of labels in the image, by the labels' vectors."""
    found: list[list[tuple[FoundObject, Window]]] = [[] for _ in range(len(text))]
    best = list[FoundObject]()
    for view, part in views.passes():
        for objects in _objects(part, text, views.options_in(view, options)):
            if not views.tiles:
                best = best_objects([*best, *objects], max_count=max_instances)
            for each in objects if views.tiles else ():
                found[each.label_index].append((in_whole_image(each, view=view), view))
    with views.whole.step("postprocess"):
        for of_label in found:
            merged = merge_objects(of_label, size=views.size)
            best = best_objects([*best, *merged], max_count=max_instances)
    return best


def _objects(
    one: Pass, text: LabelVectors, options: TextToMaskOptions
) -> Iterator[list[FoundObject]]:
    """Yields the objects of each label that is in an image, one label after the other.

    The mask decoder never gets two labels in one call: the last bits may depend on that.
    """
    found = find_labels(
        one.patches,
        text=text,
        frame=one.frame,
        calibration=one.calibration,
        threshold=options.presence_threshold,
    )
    for index in found.present.tolist():
        label = SoughtLabel(one, text.one(index), index, options.of_label(index))
        yield [each.found for each in label_objects(label, found.score_maps[index])]


@dataclass(frozen=True)
class SoughtLabel:
    """A label whose objects are looked for in an image.

    Attributes:
        one: the pass over the image.
        text: of this label alone.
        index: its index among all that were asked.
        options: how its score map becomes masks.
    """

    one: Pass
    text: LabelVectors
    index: int
    options: TextToMaskOptions

    def judge(self, low_res: Array, predicted_ious: Array) -> list[Detection]:
        """`distinct_objects` of masks, logits [n,4g,4g]; the best first."""
        found = distinct_objects(
            low_res,
            predicted_ious,
            patch_embeddings=self.one.patches,
            text=self.text,
            frame=self.one.frame,
            calibration=self.one.calibration,
            mask_threshold=self.options.mask_threshold,
            proposals=self.one.proposals,
        )
        return [replace(each, found=replace(each.found, label_index=self.index)) for each in found]


def label_objects(label: SoughtLabel, score_map_hw: Array) -> list[Detection]:
    """Finds the objects of a label that is in the image, the best first.

    They are the parts of the mask that `segment_text` draws, and, if the bundle says how good these
    are, what the image encoder proposes where the label is, which tells apart what touches.

    Args:
        label: the label.
        score_map_hw: its score map, [h,h].
    """
    one, options = label.one, label.options
    found = FoundLabels(score_map_hw[None], np.ones(1, np.float32), np.zeros(1, np.int32))
    drafts = draw_labels(one, found, options)
    with one.step("prompts"):
        candidates = find_candidates(
            drafts.low_res[0], frame=one.frame, mask_threshold=options.mask_threshold
        )
    low_res, scores = drafts.low_res, drafts.scores
    if len(candidates.prompts) > 1:
        low_res, scores = _draw(one, candidates)
    if one.calibration.proposed_objects is not None:
        proposed, predicted_ious = decode_proposals(one, proposals_on(one, score_map_hw))
        low_res = np.concatenate([low_res, proposed[:, 0]])
        scores = np.concatenate([scores, predicted_ious[:, 0]])
    with one.step("postprocess"):
        return label.judge(low_res, scores)


def draw_objects(label: SoughtLabel, candidates: Candidates) -> list[Detection]:
    """Draws the masks of a label's candidates, and keeps one for each object, the best first."""
    drawn = _draw(label.one, candidates)
    with label.one.step("postprocess"):
        return label.judge(*drawn)


def _draw(one: Pass, candidates: Candidates) -> tuple[Array, Array]:
    """The best mask of each candidate: logits [n,4g,4g] and predicted IoUs [n]."""
    decoded = one.decode(candidates.prompts, tokens=slice(0, 4))
    with one.step("postprocess"):
        return chosen_masks(*decoded, maps=candidates.maps, frame=one.frame)
