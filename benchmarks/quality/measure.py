"""The quality of a model on drawings, through its public API: names, prompts, text-to-mask."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.quality.drawings import Drawings, Picture
from benchmarks.quality.ranking import NearestCutout, by_logits, measure_ranking
from benchmarks.quality.record import UNSEEN, Figures, PromptIou, TextToMask, TopK
from benchmarks.quality.scores import HEADS, PromptTally, TextTally
from benchmarks.report import track
from training.asked_pictures import AskedPicture, ask_scene
from training.composed.label_questions import pose_question
from training.composed.scenes import Scene

if TYPE_CHECKING:
    from benchmarks.quality.behind_api import Teachers
    from samclip_sdk import SamClip


def measure_quality(
    model: SamClip,
    *,
    splits: Sequence[Drawings],
    cutouts: Sequence[Picture],
    teachers: Teachers | None,
) -> Figures:
    """Measures a model, the floor, which looks up `cutouts`, and its teachers if they are given.

    The first split has the taught nouns alone.
    """
    images, labels = [each.image for each in cutouts], np.array([each.label for each in cutouts])
    floor = NearestCutout(images, labels=labels, num_nouns=len(splits[0].nouns))
    top_k: list[TopK] = []
    prompts: list[PromptIou] = []
    texts: list[TextToMask] = []
    for drawings in splits:
        top_k += measure_ranking(by_logits(model, drawings.nouns), drawings, who="model")
        if teachers is not None:
            rank = teachers.rank(drawings.nouns)
            top_k += measure_ranking(rank, drawings, who="clip_teacher")
        if drawings.split != UNSEEN:  # the floor has no cut-out of those nouns
            top_k += measure_ranking(floor.scores, drawings, who="floor")
        own, *by_heads = _measure_scenes(model, drawings)
        prompts.append(own)
        texts += by_heads
        if teachers is not None:
            prompts.append(
                prompt_ious(teachers.sam, drawings, who="sam_teacher", name="SAM teacher")
            )
    return Figures(top_k=tuple(top_k), prompts=tuple(prompts), text_to_mask=tuple(texts))


def prompt_ious(model: SamClip, drawings: Drawings, *, who: str, name: str) -> PromptIou:
    """Mean IoU of one box and of one point for each object of a split's scenes."""
    tally = PromptTally()
    shown = f"scenes: {drawings.split}, {name}"
    for scene, _ in track(drawings.scenes(), shown, total=drawings.settings.scenes):
        tally.add(model, model.encode_image(scene.image), masks=scene.masks)
    return tally.row(who=who, split=drawings.split)


def _measure_scenes(model: SamClip, drawings: Drawings) -> Iterator[PromptIou | TextToMask]:
    """One backbone pass a scene, for its prompts and for its texts."""
    prompts, texts = PromptTally(), {heads: TextTally() for heads in HEADS}
    shown = f"scenes: {drawings.split}, model"
    for scene, asked in questions(drawings, model.embed_text, shown=shown):
        embedding = model.encode_image(scene.image)
        prompts.add(model, embedding, masks=scene.masks)
        for heads, refine in HEADS.items():
            found = model.segment_text(embedding, asked.labels, refine=refine)
            texts[heads].add([*map(found.mask, asked.labels)], truth=asked.masks)
    yield prompts.row(who="model", split=drawings.split)
    for heads, tally in texts.items():
        yield tally.row(heads=heads, split=drawings.split)


def questions(
    drawings: Drawings, embed_text: Callable[[list[str]], np.ndarray], *, shown: str
) -> Iterator[tuple[Scene, AskedPicture]]:
    """A split's scenes with what is asked about them, by its nouns' text embeddings [K,E]."""
    embeddings = embed_text(list(drawings.nouns))
    for scene, rng in track(drawings.scenes(), shown, total=drawings.settings.scenes):
        question = pose_question(scene, text_embeddings=embeddings, rng=rng)
        yield scene, ask_scene(scene, question, nouns=drawings.nouns)
