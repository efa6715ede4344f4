"""Masks of geometric prompts, as SAM draws them: points, boxes and masks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from samclip_sdk.engine.one_pass import Pass
from samclip_sdk.engine.queries import PromptQuery
from samclip_sdk.image.model_prompts import Prompts
from samclip_sdk.image.packed_masks import PackedMasks
from samclip_sdk.results.prompt_masks import Masks


def segment(one: Pass, query: PromptQuery) -> Masks:
    """Draws the masks of prompts.

    Raises:
        PromptError: a prompt does not fit the image, which is found before the backbone runs.
    """
    prompts = query.prompts.in_model(one.frame, mask_side=one.mask_side)
    best = query.multimask_output is None and query.prompts.combined
    several = query.multimask_output
    if several is None:
        several = best or query.prompts.ambiguous
    tokens = slice(1, 4) if several else slice(0, 1)
    per_prompt = tokens.stop - tokens.start
    low_res, scores = decode_in_boxes(one, prompts, tokens=tokens)
    if best:
        chosen = np.arange(len(scores)), scores.argmax(axis=1)
        low_res, scores, per_prompt = low_res[chosen], scores[chosen], 1
    else:
        low_res = low_res.reshape(-1, *low_res.shape[2:])
    threshold = query.mask_threshold
    if threshold is None:
        threshold = one.manifest.masks.mask_threshold
    with one.step("postprocess"):
        masks = PackedMasks.of_logits(low_res, frame=one.frame, mask_threshold=threshold)
    return Masks(
        masks=masks,
        scores=scores.reshape(-1),
        low_res_masks=low_res,
        boxes=masks.boxes,
        prompt_index=np.repeat(np.arange(len(prompts), dtype=np.int32), per_prompt),
        speed=one.clock.ms,
        origin=one.embedding.origin,
    )


def decode_in_boxes(
    one: Pass, prompts: Prompts, *, tokens: slice
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Decodes prompts, see `Pass.decode`; masks of a box end there if the bundle says so."""
    low_res, scores = one.decode(prompts, tokens=tokens)
    margin = one.calibration.box_margin
    if margin is not None:
        prompts.keep_in_boxes(low_res, margin=margin)
    return low_res, scores
