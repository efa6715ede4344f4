"""The quality of a model, through its public API: classification, prompts, text-to-mask."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np

from benchmarks.progress import track
from benchmarks.quality.drawings import Drawings, Picture
from benchmarks.quality.nearest_cutout import NearestCutout
from benchmarks.quality.ranking import Rank, measure_ranking, one_by_one
from benchmarks.quality.record import UNSEEN, PromptIou, TextToMask, TopK
from benchmarks.quality.scores import PromptTally, TextTally
from training.composed.label_questions import pose_question

if TYPE_CHECKING:
    from benchmarks.quality.behind_api import Teachers
    from samclip_sdk import SamClip

HEADS: dict[Literal["clip_head", "both_heads"], bool] = {"clip_head": False, "both_heads": True}
"""Name -> whether the mask decoder refines what the CLIP head says."""


@dataclass(frozen=True)
class Figures:
    """What was found, row by row."""

    top_k: list[TopK] = field(default_factory=list)
    prompts: list[PromptIou] = field(default_factory=list)
    text_to_mask: list[TextToMask] = field(default_factory=list)


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
    figures = Figures()
    images, labels = [each.image for each in cutouts], np.array([each.label for each in cutouts])
    floor = NearestCutout(images, labels=labels, num_nouns=len(splits[0].nouns))
    for drawings in splits:
        for who, rank in _classifiers(model, drawings, floor=floor, teachers=teachers):
            figures.top_k.extend(measure_ranking(rank, drawings, who=who))
    for drawings in splits:
        _measure_scenes(model, drawings, figures=figures)
        if teachers is not None:
            ious = prompt_ious(teachers.sam, drawings, who="sam_teacher", name="SAM teacher")
            figures.prompts.append(ious)
    return figures


def prompt_ious(
    model: SamClip, drawings: Drawings, *, who: Literal["model", "sam_teacher"], name: str
) -> PromptIou:
    """Mean IoU of one box and of one point for each object of a split's scenes."""
    tally = PromptTally()
    shown = f"scenes: {drawings.split}, {name}"
    for scene, _ in track(drawings.scenes(), shown, total=drawings.settings.scenes):
        tally.add(model, model.encode_image(scene.image), scene)
    return tally.row(who=who, split=drawings.split)


def _classifiers(
    model: SamClip, drawings: Drawings, *, floor: NearestCutout, teachers: Teachers | None
) -> Iterator[tuple[Literal["model", "clip_teacher", "floor"], Rank]]:
    nouns = list(drawings.nouns)
    yield "model", one_by_one(lambda image: model.classify(image, nouns).logits)
    if teachers is not None:
        yield "clip_teacher", teachers.rank(nouns)
    if drawings.split != UNSEEN:  # the floor has no cut-out of those nouns
        yield "floor", one_by_one(floor.scores)


def _measure_scenes(model: SamClip, drawings: Drawings, *, figures: Figures) -> None:
    """One backbone pass a scene, for its prompts and for its texts."""
    text_embeddings = model.embed_text(list(drawings.nouns))
    prompts, texts = PromptTally(), {heads: TextTally() for heads in HEADS}
    shown = f"scenes: {drawings.split}, model"
    for scene, rng in track(drawings.scenes(), shown, total=drawings.settings.scenes):
        embedding = model.encode_image(scene.image)
        prompts.add(model, embedding, scene)
        question = pose_question(scene, text_embeddings=text_embeddings, rng=rng)
        labels = [drawings.nouns[noun] for noun in (*question.present, *question.absent)]
        for heads, refine in HEADS.items():
            masks = model.segment_text(embedding, labels, refine=refine).masks
            texts[heads].add(masks, question=question, scene=scene)
    figures.prompts.append(prompts.row(who="model", split=drawings.split))
    for heads, tally in texts.items():
        figures.text_to_mask.append(tally.row(heads=heads, split=drawings.split))
