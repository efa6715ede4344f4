"""Zero-shot skills, through the public API: of the teachers and their student, and by resolution.

The paper's table 1 (how much of its teachers the student keeps) and table 6 (the student's input
resolution, before and after stage 3).
"""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.paper.inputs import Inputs
from benchmarks.paper.record import Accuracy, AtResolution, Resolutions, Teachers, TradeOff
from benchmarks.quality.behind_api import behind_api
from benchmarks.quality.drawings import Drawings
from benchmarks.quality.measure import prompt_ious
from benchmarks.quality.ranking import Rank, by_logits, measure_ranking
from samclip_sdk import SamClip
from samclip_sdk.bench.timed_tasks import give_embeddings
from samclip_sdk.modeling.build import SamClipModel

RESOLUTIONS = (96, 128, 192, 256)


def measure_teachers(inputs: Inputs) -> Teachers:
    """Measures both teachers and the student, each at its own resolutions."""
    drawings, teachers = inputs.heldout, inputs.teachers
    rank = teachers.rank(drawings.nouns)
    student = trade_off(inputs, inputs.student("stage3"), name="student")
    return Teachers(
        clip_teacher=accuracy(rank, drawings, name="CLIP teacher"),
        student_accuracy=student.accuracy,
        sam_teacher=prompt_ious(teachers.sam, drawings, who="sam_teacher", name="SAM teacher"),
        student_prompts=student.prompts,
    )


def measure_resolutions(inputs: Inputs, *, resolutions: Sequence[int] = RESOLUTIONS) -> Resolutions:
    """Measures the student as stage 2 and as stage 3 left it, at each resolution.

    Raises:
        ValueError: the student does not run at one of the resolutions.
    """
    rows = []
    for stage in ("stage2", "stage3"):
        student = inputs.student(stage)
        for resolution in resolutions:
            model = open_student(inputs, student, classification_px=resolution)
            rank, name = by_logits(model, inputs.heldout.nouns), f"{stage}, {resolution} px"
            found = accuracy(rank, inputs.heldout, name=name)
            rows.append(AtResolution(stage=stage, resolution_px=resolution, accuracy=found))
    return Resolutions(rows=tuple(rows))


def open_student(
    inputs: Inputs, student: SamClipModel, *, classification_px: int | None = None
) -> SamClip:
    """Puts a student behind the public API; it knows the nouns from the CLIP teacher.

    Its text encoder is the CLIP teacher's, so that the embeddings are its own.
    """
    model, nouns = behind_api(student, classification_px=classification_px), inputs.heldout.nouns
    give_embeddings(model, nouns, inputs.teachers.classes(nouns))
    return model


def trade_off(inputs: Inputs, student: SamClipModel, *, name: str) -> TradeOff:
    """What a student knows of both teachers' skills, at its own resolutions."""
    model, drawings = open_student(inputs, student), inputs.heldout
    return TradeOff(
        accuracy=accuracy(by_logits(model, drawings.nouns), drawings, name=name),
        prompts=prompt_ious(model, drawings, who="model", name=name),
    )


def accuracy(rank: Rank, drawings: Drawings, *, name: str) -> Accuracy:
    """Top-1 and top-5 of a classifier over a split's nouns, on clean and on composed pictures."""
    shares, nouns = {}, len(drawings.nouns)
    for row in measure_ranking(rank, drawings, who="model", name=name):
        shares |= {f"{row.picture}_top1": row.top1, f"{row.picture}_top5": row.top5}
    return Accuracy(labels=nouns, **shares)
