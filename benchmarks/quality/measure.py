"""The quality of a model, through its public API: classification, prompts, text-to-mask."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.progress import Progress

from benchmarks.quality.drawings import Material, Picture
from benchmarks.quality.nearest_cutout import NearestCutout
from benchmarks.quality.object_prompts import PromptTally
from benchmarks.quality.ranking import Rank, measure_classification, one_by_one
from benchmarks.quality.text_to_mask import TextTally
from benchmarks.record import UNSEEN, PromptIou, TextToMask, TopK
from training.composed.label_questions import pose_question

if TYPE_CHECKING:
    from benchmarks.quality.teachers import Teachers
    from samclip_sdk import SamClip

HEADS = {"clip_head": False, "both_heads": True}
"""Name -> whether the mask decoder refines what the CLIP head says."""


@dataclass
class Figures:
    """What a run found, row by row."""

    top_k: list[TopK]
    prompts: list[PromptIou]
    text_to_mask: list[TextToMask]


def measure_quality(
    model: SamClip,
    *,
    materials: Sequence[Material],
    cutouts: Sequence[Picture],
    teachers: Teachers | None,
    progress: Progress,
) -> Figures:
    """Measures a model, the floor and, where they are given, its teachers.

    Args:
        model: what is measured.
        materials: the splits; the first one has the taught nouns alone.
        cutouts: the training cut-outs, which the floor looks up.
        teachers: of the model.
        progress: shows how far it is.
    """
    figures = Figures([], [], [])
    floor = NearestCutout(
        [each.image for each in cutouts],
        labels=np.array([each.label for each in cutouts]),
        num_nouns=len(materials[0].nouns),
    )
    for material in materials:
        for who, rank in _classifiers(model, material, floor=floor, teachers=teachers):
            track = _tracker(progress, f"classify: {material.split}, {who}")
            figures.top_k += measure_classification(rank, material, who=who, track=track)
    for material in materials:
        _measure_scenes(model, material, figures=figures, progress=progress)
        if teachers is not None:
            _measure_teacher(teachers, material, figures=figures, progress=progress)
    return figures


def _classifiers(
    model: SamClip, material: Material, *, floor: NearestCutout, teachers: Teachers | None
) -> Iterator[tuple[str, Rank]]:
    nouns = list(material.nouns)
    yield "model", one_by_one(lambda image: model.classify(image, nouns).logits)
    if teachers is not None:
        yield "clip_teacher", teachers.rank(nouns)
    if material.split != UNSEEN:  # the floor has no cut-out of those nouns
        yield "floor", one_by_one(floor.scores)


def _measure_scenes(
    model: SamClip, material: Material, *, figures: Figures, progress: Progress
) -> None:
    """One backbone pass a scene, for its prompts and for its texts."""
    text_embeddings = model.embed_text(list(material.nouns))
    prompts, texts = PromptTally(), {heads: TextTally() for heads in HEADS}
    track = _tracker(progress, f"scenes: {material.split}, model")
    for scene, rng in track(material.scenes(), material.settings.scenes):
        embedding = model.encode_image(scene.image)
        prompts.add(model, embedding, scene)
        question = pose_question(scene, text_embeddings=text_embeddings, rng=rng)
        labels = [material.nouns[noun] for noun in (*question.present, *question.absent)]
        for heads, refine in HEADS.items():
            result = model.segment_text(embedding, labels, refine=refine)
            texts[heads].add(result, question=question, scene=scene)
    figures.prompts.append(prompts.row(who="model", split=material.split))
    figures.text_to_mask += [
        tally.row(heads=heads, split=material.split) for heads, tally in texts.items()
    ]


def _measure_teacher(
    teachers: Teachers, material: Material, *, figures: Figures, progress: Progress
) -> None:
    tally = PromptTally()
    track = _tracker(progress, f"scenes: {material.split}, SAM teacher")
    for scene, _ in track(material.scenes(), material.settings.scenes):
        tally.add(teachers.sam, teachers.sam.encode_image(scene.image), scene)
    figures.prompts.append(tally.row(who="sam_teacher", split=material.split))


def _tracker(progress: Progress, description: str) -> Callable[[Iterable[Any], int], Iterable[Any]]:
    """Shows an iterable's progress under one line of text."""

    def track(items: Iterable[Any], total: int) -> Iterable[Any]:
        return progress.track(items, total=total, description=description)

    return track
