"""Zero-shot skills, through the public API: of the teachers and their student, and by resolution.

The paper's table 1 (how much of its teachers the student keeps) and table 6 (the student's input
resolution, before and after stage 3).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from benchmarks.paper.inputs import Inputs
from benchmarks.paper.record import AtResolution, Resolutions, Teachers, TradeOff
from benchmarks.quality.behind_api import behind_api
from benchmarks.quality.ranking import by_logits
from samclip_sdk import SamClip
from samclip_sdk.bench.timed_tasks import give_embeddings
from samclip_sdk.modeling.build import SamClipModel

_OF_SEGMENTATION = (3 / 8, 1 / 2, 3 / 4, 1)
_MULTIPLE_PX = 32


def measure_teachers(inputs: Inputs) -> Teachers:
    """Measures both teachers and the student, each at its own resolutions."""
    asked, teachers = inputs.asked, inputs.teachers
    student = trade_off(inputs, inputs.student(), name="student")
    return Teachers(
        clip_teacher=asked.accuracy(teachers.rank, name="CLIP teacher"),
        student_accuracy=student.accuracy,
        sam_teacher=asked.prompts(teachers.sam, who="sam_teacher", name="SAM teacher"),
        student_prompts=student.prompts,
    )


def measure_resolutions(inputs: Inputs, *, resolutions: Sequence[int] | None = None) -> Resolutions:
    """Measures the student as each stage left it, at each resolution.

    By default these are four, up to that of segmentation: 96 to 256, or 128 to 384 pixels.

    Raises:
        ValueError: the student does not run at one of the resolutions.
    """
    largest = inputs.pair.model.segmentation_resolution
    usual = [round(share * largest / _MULTIPLE_PX) * _MULTIPLE_PX for share in _OF_SEGMENTATION]
    rows = []
    for stage in inputs.stages.students:
        student = inputs.student(stage)
        for resolution in resolutions or usual:
            model = open_student(inputs, student, classification_px=resolution)
            name = f"{stage}, {resolution} px"
            found = inputs.asked.accuracy(partial(by_logits, model), name=name)
            rows.append(AtResolution(stage=stage, resolution_px=resolution, accuracy=found))
    return Resolutions(rows=tuple(rows))


def open_student(
    inputs: Inputs, student: SamClipModel, *, classification_px: int | None = None
) -> SamClip:
    """Puts a student behind the public API; it knows the names from the CLIP teacher.

    Its text encoder is the CLIP teacher's, so that the embeddings are its own.
    """
    model, names = behind_api(student, classification_px=classification_px), inputs.asked.names
    give_embeddings(model, names, inputs.teachers.classes(names))
    return model


def trade_off(inputs: Inputs, student: SamClipModel, *, name: str) -> TradeOff:
    """What a student knows of both teachers' skills, at its own resolutions."""
    model, asked = open_student(inputs, student), inputs.asked
    return TradeOff(
        accuracy=asked.accuracy(partial(by_logits, model), name=name),
        prompts=asked.prompts(model, who="model", name=name),
    )
