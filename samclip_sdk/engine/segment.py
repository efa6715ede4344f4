"""Masks of geometric prompts, as SAM draws them: points, boxes and masks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from samclip_sdk.engine.engine import AnyImage, Engine
from samclip_sdk.picture.image_prompts import ImagePrompts
from samclip_sdk.picture.model_prompts import Prompts
from samclip_sdk.picture.packed_masks import PackedMasks
from samclip_sdk.results.image_embedding import ImageEmbedding
from samclip_sdk.results.prompt_masks import Masks
from samclip_sdk.system.timing import Stopwatch


def segment(
    engine: Engine,
    image: AnyImage,
    *,
    prompts: ImagePrompts,
    multimask_output: bool | None,
    mask_threshold: float,
    clock: Stopwatch,
) -> Masks:
    """Draws the masks of prompts; see `Engine.encode`.

    Three for each or one; None stands for three of single points, for the best of three of prompts
    that are combined, and else for one.

    Raises:
        PromptError: a prompt does not fit the image, which is found before the backbone runs.
    """
    task = engine.manifest.tasks.segmentation
    prepared = engine.to_prepared(image, task=task, clock=clock)
    frame = prepared.frame
    asked = prompts.in_model(frame, mask_side=engine.mask_side(frame))
    best = multimask_output is None and prompts.combined
    if multimask_output is None:
        multimask_output = best or prompts.ambiguous
    tokens = slice(1, 4) if multimask_output else slice(0, 1)
    per_prompt = tokens.stop - tokens.start
    embedding = engine.encode(prepared, task=task, clock=clock)
    low_res, scores = decode_in_boxes(engine, embedding, prompts=asked, tokens=tokens, clock=clock)
    if best:
        chosen = np.arange(len(scores)), scores.argmax(axis=1)
        low_res, scores, per_prompt = low_res[chosen], scores[chosen], 1
    else:
        low_res = low_res.reshape(-1, *low_res.shape[2:])
    with clock.step("postprocess"):
        masks = PackedMasks.of_logits(low_res, frame=frame, mask_threshold=mask_threshold)
    return Masks(
        masks=masks,
        scores=scores.reshape(-1),
        low_res_masks=low_res,
        boxes=masks.boxes,
        prompt_index=np.repeat(np.arange(len(asked), dtype=np.int32), per_prompt),
        speed=clock.ms,
        origin=embedding.origin,
    )


def decode_in_boxes(
    engine: Engine,
    embedding: ImageEmbedding,
    *,
    prompts: Prompts,
    tokens: slice,
    clock: Stopwatch,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Decodes prompts, see `Engine.decode`; masks of a box end there if the bundle says so."""
    low_res, scores = engine.decode(embedding, prompts=prompts, tokens=tokens, clock=clock)
    margin = engine.manifest.calibration.box_margin
    if margin is not None:
        prompts.keep_in_boxes(low_res, margin=margin)
    return low_res, scores
