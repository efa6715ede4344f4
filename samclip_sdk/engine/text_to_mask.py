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

from samclip_sdk.bundle.manifest import Calibration
from samclip_sdk.engine.class_map import map_of_logits
from samclip_sdk.engine.engine import AnyImage, Engine
from samclip_sdk.engine.label_prompts import LabelPrompts, extend_into_padding, label_prompts
from samclip_sdk.engine.label_search import FoundLabels, find_labels
from samclip_sdk.engine.label_vectors import LabelVectors
from samclip_sdk.engine.options import TextToMaskOptions
from samclip_sdk.picture.frame import Frame
from samclip_sdk.picture.masks import without_specks
from samclip_sdk.picture.packed_masks import PackedMasks
from samclip_sdk.picture.upscale import probabilities
from samclip_sdk.results.image_embedding import ImageEmbedding
from samclip_sdk.results.text_masks import AskedLabels, TextMasks
from samclip_sdk.system.timing import Stopwatch

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
    asked: LabelPrompts,
    frame: Frame,
    calibration: Calibration,
    mask_threshold: float,
) -> Drafts:
    """Adds the CLIP head's scores to the mask decoder's logits of labels.

    Specks are removed, and small holes are filled. The paper adds nothing to the decoder's logits.

    Args:
        low_res: the decoder's logits [P,1,4g,4g] for the prompts.
        scores: the decoder's predicted IoUs, [P,1].
        asked: the prompts.
        frame: where the image lies in the model's input.
        calibration: the weight of the CLIP head's scores, and a bias.
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


def segment_text(
    engine: Engine,
    image: AnyImage,
    *,
    labels: Sequence[str],
    options: TextToMaskOptions,
    clock: Stopwatch,
) -> TextMasks:
    """Finds labels from `check_labels` and draws their masks; see `Engine.encode`."""
    text = engine.texts.embed_labels(labels, clock=clock)
    embedding = engine.encode(image, task=engine.manifest.tasks.segmentation, clock=clock)
    found, drafts = draft_masks(engine, embedding, text=text, options=options, clock=clock)
    with clock.step("postprocess"):
        result = compose(
            drafts,
            found=found,
            labels=labels,
            frame=embedding.frame,
            mask_threshold=options.mask_threshold,
        )
        if options.return_soft_masks:
            soft = probabilities(drafts.low_res, frame=embedding.frame)
            result = replace(result, soft_masks=soft)
    return replace(
        result,
        speed=clock.ms,
        origin=embedding.origin,
        read_as=engine.texts.told(labels, clock=clock),
    )


def draft_masks(
    engine: Engine,
    embedding: ImageEmbedding,
    *,
    text: LabelVectors,
    options: TextToMaskOptions,
    clock: Stopwatch,
) -> tuple[FoundLabels, Drafts]:
    """Finds labels by their vectors, and draws the masks of those in the image."""
    found = find_labels(
        engine.patch_embeddings(embedding, clock=clock),
        text=text,
        frame=embedding.frame,
        calibration=engine.manifest.calibration,
        threshold=options.presence_threshold,
    )
    if not (options.refine and len(found.present)):
        return found, head_only(found, frame=embedding.frame)
    return found, draw_labels(engine, embedding, found=found, options=options, clock=clock)


def draw_labels(
    engine: Engine,
    embedding: ImageEmbedding,
    *,
    found: FoundLabels,
    options: TextToMaskOptions,
    clock: Stopwatch,
) -> Drafts:
    """Draws the masks of the labels that are in the image, one or more, by the mask decoder."""
    frame, calibration = embedding.frame, engine.manifest.calibration
    with clock.step("prompts"):
        asked = label_prompts(
            found,
            frame=frame,
            options=options,
            calibration=calibration,
            mask_side=engine.mask_side(frame),
        )
    decoded = engine.decode(embedding, prompts=asked.prompts, tokens=slice(0, 1), clock=clock)
    return refined(
        *decoded,
        asked=asked,
        frame=frame,
        calibration=calibration,
        mask_threshold=options.mask_threshold,
    )
