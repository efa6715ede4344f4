"""Zero-shot classification by input resolution, before and after stage 3 (paper, table 6)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from benchmarks.paper.inputs import Inputs
from benchmarks.paper.record import AtResolution, Resolutions
from benchmarks.paper.skills import new_progress, student_accuracy, tracker
from benchmarks.quality.class_embeddings import embed_classes

NEEDS = ("clip_teacher", "stage2", "stage3")
RESOLUTIONS = (96, 128, 192, 256)


def measure_resolutions(inputs: Inputs, *, resolutions: Sequence[int] = RESOLUTIONS) -> Resolutions:
    """Measures the student as stage 2 and as stage 3 left it, at each resolution.

    Raises:
        ValueError: the student does not run at one of the resolutions.
    """
    rows = []
    stages: tuple[Literal["stage2", "stage3"], ...] = ("stage2", "stage3")
    with new_progress() as progress:
        for stage in stages:
            student = inputs.student(stage)
            classes = embed_classes(student.text_encoder, inputs.heldout.nouns)
            for resolution in resolutions:
                found = student_accuracy(
                    student,
                    inputs.heldout,
                    resolution=resolution,
                    classes=classes,
                    name=f"{stage}, {resolution} px",
                    track=tracker(progress),
                )
                rows.append(AtResolution(stage=stage, resolution_px=resolution, accuracy=found))
    return Resolutions(rows=tuple(rows))
