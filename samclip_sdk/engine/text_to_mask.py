"""Text to mask (paper section 4.4): score map -> presence gate -> parts -> prompts -> masks.

`segment_text` runs the steps, which are pure functions of numpy arrays. `label_search` finds where
a label is, `label_points` picks its points and its box, and `label_prompts` makes prompts of them.
This module turns the decoder's masks into the answer.

A label's score map, presence, points and mask never depend on which other labels are asked: each
label is computed alone (one matrix-vector product), and labels meet only in the class map. The
paper has one prompt for each label, with random points. Here the prompt is the box around the
label's connected parts, with their best cells as points.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from samclip_sdk.engine.class_map import map_of_logits
from samclip_sdk.engine.label_prompts import extend_into_padding, label_prompts
from samclip_sdk.engine.label_search import FoundLabels, find_labels
from samclip_sdk.engine.label_vectors import LabelVectors
from samclip_sdk.engine.one_pass import Pass
from samclip_sdk.engine.options import TextToMaskOptions
from samclip_sdk.engine.queries import TextQuery
from samclip_sdk.image.frame import Frame
from samclip_sdk.image.masks import without_specks
from samclip_sdk.image.packed_masks import PackedMasks
from samclip_sdk.image.upscale import probabilities
from samclip_sdk.results.text_masks import AskedLabels, TextMasks

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Drafts:
    """The masks of the P labels that are in the image, before labels compete for pixels.

    Attributes:
        low_res: logits [P,s,s] in the model frame.
        scores: float32 [P], the predicted quality of each mask.
        points: P arrays float32 [n,2], the points of the prompts, in image pixels.
    """

    low_res: Array
    scores: Array
    points: Sequence[Array]


def refined(
    low_res: Array,
    scores: Array,
    *,
    points: Sequence[Array],
    frame: Frame,
    bias: float,
    mask_threshold: float,
) -> Drafts:
    """Adds a constant to the mask decoder's logits of labels, removes specks, fills small holes.

    The paper adds nothing to the decoder's logits.

    Args:
        low_res: the decoder's logits [P,1,4g,4g] for the prompts.
        scores: the decoder's predicted IoUs, [P,1].
        points: of the prompts, in model pixels.
        frame: where the image lies in the model's input.
        bias: the constant.
        mask_threshold: the logit that a pixel must exceed.
    """
    joined = low_res[:, 0] + np.float32(bias)
    return Drafts(
        low_res=np.stack([without_specks(each, mask_threshold=mask_threshold) for each in joined]),
        scores=scores[:, 0],
        points=[frame.to_image(each).astype(np.float32) for each in points],
    )


def head_only(found: FoundLabels, *, frame: Frame) -> Drafts:
    """The masks of the CLIP head alone: its score maps; a mask's score is its presence."""
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
) -> TextMasks:
    """Thresholds each present label's logits, one label at a time.

    Args:
        drafts: the masks of the P present labels.
        found: where the labels are.
        labels: all K labels that were asked.
        frame: the image's frame.
        mask_threshold: the logit a pixel must exceed.
    """
    low_res = drafts.low_res
    return TextMasks(
        labels=[labels[index] for index in found.present],
        presence=found.presence[found.present],
        scores=drafts.scores,
        masks=PackedMasks.of_logits(low_res, frame=frame, mask_threshold=mask_threshold),
        points=drafts.points,
        label_index=found.present,
        asked=AskedLabels(labels, found.presence, found.score_maps),
        draw_class_map=partial(
            map_of_logits, low_res, found.present, frame=frame, mask_threshold=mask_threshold
        ),
    )


def segment_text(one: Pass, query: TextQuery) -> TextMasks:
    """Finds labels in the whole image, and draws their masks."""
    options, text = one.options(query), one.embed_labels(query.labels)
    found, drafts = draft_masks(one, text, options)
    with one.step("postprocess"):
        result = compose(
            drafts,
            found=found,
            labels=query.labels,
            frame=one.frame,
            mask_threshold=options.mask_threshold,
        )
        if query.return_soft_masks:
            soft = probabilities(drafts.low_res, frame=one.frame)
            result = replace(result, soft_masks=soft)
    return one.signed(result, labels=query.labels)


def draft_masks(
    one: Pass, text: LabelVectors, options: TextToMaskOptions
) -> tuple[FoundLabels, Drafts]:
    """Finds labels by their vectors, and draws the masks of those in the image."""
    found = find_labels(
        one.patches,
        text=text,
        frame=one.frame,
        calibration=one.calibration,
        threshold=options.presence_threshold,
    )
    if not (options.refine and len(found.present)):
        return found, head_only(found, frame=one.frame)
    return found, draw_labels(one, found, options)


def draw_labels(one: Pass, found: FoundLabels, options: TextToMaskOptions) -> Drafts:
    """Draws the masks of the labels that are in the image, one or more, by the mask decoder."""
    with one.step("prompts"):
        asked = label_prompts(
            found,
            frame=one.frame,
            options=options,
            calibration=one.calibration,
            mask_side=one.mask_side,
        )
    return refined(
        *one.decode(asked.prompts, tokens=slice(0, 1)),
        points=asked.points,
        frame=one.frame,
        bias=one.calibration.mask_bias,
        mask_threshold=options.mask_threshold,
    )
