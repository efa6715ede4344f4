"""The objects of labels: a candidate for each part of a label's mask, without duplicates.

`segment_instances` runs the steps, which are pure functions of numpy arrays. Each label is computed
alone, so that its objects never depend on which other labels are asked. Labels meet only where the
image's best objects are chosen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from samclip_sdk.bundle.manifest import Calibration
from samclip_sdk.engine.engine import AnyImage, Engine
from samclip_sdk.engine.exclusive import exclusive_objects
from samclip_sdk.engine.label_search import FoundLabels, find_labels
from samclip_sdk.engine.label_vectors import LabelVectors
from samclip_sdk.engine.object_candidates import Candidates, chosen_masks, find_candidates
from samclip_sdk.engine.object_score import object_score
from samclip_sdk.engine.objects import (
    Detection,
    FoundObject,
    compose_instances,
    distinct_masks,
    in_whole_image,
    merge_objects,
    model_masks,
    upscale_and_pack,
)
from samclip_sdk.engine.options import TextToMaskOptions
from samclip_sdk.engine.regions import pool_over_mask, score_labels
from samclip_sdk.engine.text_to_mask import draw_labels
from samclip_sdk.engine.views import Views, encode_views, open_views
from samclip_sdk.picture.frame import Frame
from samclip_sdk.picture.masks import without_specks
from samclip_sdk.picture.tiles import CONTAINED_SHARE, SAME_IOU, Tiling, Window
from samclip_sdk.results.image_embedding import ImageEmbedding
from samclip_sdk.results.instances import Instances
from samclip_sdk.system.timing import Stopwatch

Array = NDArray[np.float32]

Judge: TypeAlias = "Callable[[Array, Array], list[Detection]]"
"""Masks' logits [n,4g,4g] and predicted IoUs [n] -> the objects that they show, the best first."""

LEAST_SHARE = 0.05
"""A mask that scores less than this share of its label's best object is only a fragment."""

STABILITY_OFFSET = 1.0
"""segment-anything's default, in logits."""


def distinct_objects(
    low_res: Array,
    predicted_ious: Array,
    *,
    patch_embeddings: Array,
    text: LabelVectors,
    label_index: int,
    frame: Frame,
    calibration: Calibration,
    mask_threshold: float,
) -> list[Detection]:
    """Scores the masks of a label's candidates, and keeps one for each object.

    Args:
        low_res: logits [n,4g,4g].
        predicted_ious: [n].
        patch_embeddings: [1,h*h,E], unit length.
        text: of this label alone.
        label_index: the label's index among all that were asked.
        frame: the image's frame.
        calibration: the calibration of the scores.
        mask_threshold: the logit that a pixel must exceed.

    Returns:
        The objects, the best first.
    """
    clean = [without_specks(each, mask_threshold=mask_threshold) for each in low_res]
    low_res = np.array(clean, np.float32).reshape(low_res.shape)
    small = model_masks(low_res, frame=frame, mask_threshold=mask_threshold)
    found = []
    for logits, mask, predicted in zip(low_res, small, predicted_ious.tolist(), strict=True):
        pooled = pool_over_mask(patch_embeddings, mask=mask)
        (fits,) = score_labels(pooled, text=text, calibration=calibration).tolist()
        packed, stability = upscale_and_pack(
            logits, frame=frame, mask_threshold=mask_threshold, stability_offset=STABILITY_OFFSET
        )
        score = object_score(fits, predicted, stability, calibration=calibration.objects)
        shown = FoundObject(packed, score, predicted, stability, label_index, fits)
        found.append(Detection(shown, logits, pooled))
    least = LEAST_SHARE * max((each.found.score for each in found), default=0.0)
    kept = [
        place
        for place, each in enumerate(found)
        # A mask that lies only in the padding may leak a few pixels into the image.
        if not each.found.mask.empty and small[place].any() and each.found.score >= least
    ]
    distinct = distinct_masks(
        small[kept],
        scores=np.array([found[place].found.score for place in kept], dtype=np.float32),
        iou_threshold=SAME_IOU,
        contained_share=CONTAINED_SHARE,
    )
    return [found[kept[place]] for place in distinct.tolist()]


def best_objects(found: Iterable[FoundObject], *, at_most: int) -> list[FoundObject]:
    """The best objects of all labels, the best first; among equals, the first label's first."""
    return sorted(found, key=lambda each: (-each.score, each.label_index))[:at_most]


def segment_instances(
    engine: Engine,
    image: AnyImage,
    *,
    labels: Sequence[str],
    options: TextToMaskOptions,
    max_instances: int,
    min_score: float,
    exclusive: bool,
    tiling: Tiling | None,
    clock: Stopwatch,
) -> Instances:
    """Finds the objects of labels from `check_labels`, in the whole image and in its tiles."""
    text = engine.texts.embed_labels(labels, clock=clock)
    views = open_views(engine, image, tiling=tiling, clock=clock)
    best = find_objects(
        engine, views, text=text, options=options, max_instances=max_instances, clock=clock
    )
    with clock.step("postprocess"):
        sure = [each for each in best if each.score >= min_score]
        result = compose_instances(sure, labels=labels, size=views.size)
        if exclusive:
            result = exclusive_objects(result)
    return replace(
        result,
        speed=clock.ms,
        origin=views.whole.origin,
        read_as=engine.texts.told(labels, clock=clock),
    )


def find_objects(
    engine: Engine,
    views: Views,
    *,
    text: LabelVectors,
    options: TextToMaskOptions,
    max_instances: int,
    clock: Stopwatch,
) -> list[FoundObject]:
    """Finds the best objects of labels in the image, by the labels' vectors."""
    found: list[list[tuple[FoundObject, Window]]] = [[] for _ in range(len(text))]
    best = list[FoundObject]()
    for view, embedding in encode_views(engine, views, clock=clock):
        own = views.options_in(view, options)
        for objects in _objects(engine, embedding, text=text, options=own, clock=clock):
            if not views.tiles:
                best = best_objects([*best, *objects], at_most=max_instances)
            for each in objects if views.tiles else ():
                found[each.label_index].append((in_whole_image(each, view=view), view))
    with clock.step("postprocess"):
        for of_label in found:
            merged = merge_objects(of_label, size=views.size)
            best = best_objects([*best, *merged], at_most=max_instances)
    return best


def _objects(
    engine: Engine,
    embedding: ImageEmbedding,
    *,
    text: LabelVectors,
    options: TextToMaskOptions,
    clock: Stopwatch,
) -> Iterator[list[FoundObject]]:
    """Yields the objects of each label that is in an image, one label after the other.

    The mask decoder never gets two labels in one call: the last bits may depend on that.
    """
    patches = engine.patch_embeddings(embedding, clock=clock)
    found = find_labels(
        patches,
        text=text,
        frame=embedding.frame,
        calibration=engine.manifest.calibration,
        threshold=options.presence_threshold,
    )
    for index in found.present.tolist():
        own = options.of_label(index)
        seen = label_objects(
            engine,
            found.score_maps[index],
            embedding=embedding,
            judge=judge_of_label(
                engine, embedding, text=text, label_index=index, options=own, clock=clock
            ),
            options=own,
            clock=clock,
        )
        yield [each.found for each in seen]


def judge_of_label(
    engine: Engine,
    embedding: ImageEmbedding,
    *,
    text: LabelVectors,
    label_index: int,
    options: TextToMaskOptions,
    clock: Stopwatch,
) -> Judge:
    """`distinct_objects` for one of the labels, and for an image."""
    return partial(
        distinct_objects,
        patch_embeddings=engine.patch_embeddings(embedding, clock=clock),
        text=text.one(label_index),
        label_index=label_index,
        frame=embedding.frame,
        calibration=engine.manifest.calibration,
        mask_threshold=options.mask_threshold,
    )


def label_objects(
    engine: Engine,
    score_map: Array,
    *,
    embedding: ImageEmbedding,
    judge: Judge,
    options: TextToMaskOptions,
    clock: Stopwatch,
) -> list[Detection]:
    """Finds the objects of a label that is in the image, the best first.

    They are the parts of the mask that `segment_text` draws. Nothing tells objects apart in a mask
    of a single part.

    Args:
        engine: runs the mask decoder.
        score_map: the label's score map, [h,h].
        embedding: the image's embedding.
        judge: `distinct_objects` for the label and the image.
        options: how score maps become masks, of this label alone.
        clock: records how long each step took.
    """
    found = FoundLabels(score_map[None], np.ones(1, np.float32), np.zeros(1, np.int32))
    drafts = draw_labels(engine, embedding, found=found, options=options, clock=clock)
    with clock.step("prompts"):
        candidates = find_candidates(
            drafts.low_res[0], frame=embedding.frame, mask_threshold=options.mask_threshold
        )
    if len(candidates.prompts) > 1:
        return draw_objects(engine, candidates, embedding=embedding, judge=judge, clock=clock)
    with clock.step("postprocess"):
        return judge(drafts.low_res, drafts.scores)


def draw_objects(
    engine: Engine,
    candidates: Candidates,
    *,
    embedding: ImageEmbedding,
    judge: Judge,
    clock: Stopwatch,
) -> list[Detection]:
    """Draws the masks of a label's candidates, and keeps one for each object, the best first.

    Args:
        engine: runs the mask decoder.
        candidates: the label's candidates.
        embedding: the image's embedding.
        judge: `distinct_objects` for the label and the image.
        clock: records how long each step took.
    """
    decoded = engine.decode(embedding, prompts=candidates.prompts, tokens=slice(0, 4), clock=clock)
    with clock.step("postprocess"):
        return judge(*chosen_masks(*decoded, maps=candidates.maps, frame=embedding.frame))
