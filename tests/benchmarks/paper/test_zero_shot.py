"""Teachers and student through the public API, and by resolution."""

from __future__ import annotations

from functools import partial

import pytest

from benchmarks.paper.inputs import Inputs
from benchmarks.paper.zero_shot import measure_resolutions, measure_teachers, open_student
from benchmarks.quality.ranking import by_logits
from samclip_sdk import SamClip


def test_a_student_is_measured_as_its_checkpoint_is(inputs: Inputs) -> None:
    """The nouns' embeddings are the CLIP teacher's, which are the student's own."""
    own = SamClip.load("torch", model=inputs.pair.runs / "stage3")
    taught = open_student(inputs, inputs.student("stage3"))
    theirs, ours = (
        inputs.asked.accuracy(partial(by_logits, model), name="student") for model in (own, taught)
    )
    assert ours == theirs
    assert ours["clean"].labels == 12
    assert ours["composed"].pictures == 3
    assert 0 < ours["clean"].top5 < 1


def test_a_resolution_that_the_student_has_not(inputs: Inputs) -> None:
    with pytest.raises(ValueError, match="100 is not a positive multiple of 16"):
        measure_resolutions(inputs, resolutions=[100])


def test_teachers_and_student_are_all_measured(inputs: Inputs) -> None:
    figures = measure_teachers(inputs)
    assert figures.clip_teacher["clean"].labels == figures.student_accuracy["clean"].labels == 12
    assert (figures.sam_teacher.who, figures.student_prompts.who) == ("sam_teacher", "model")
    assert figures.sam_teacher.objects == figures.student_prompts.objects >= 2
    assert figures.sam_teacher != figures.student_prompts


def test_every_resolution_before_and_after(inputs: Inputs) -> None:
    rows = measure_resolutions(inputs, resolutions=[48, 64]).rows
    assert [(row.stage, row.resolution_px) for row in rows] == [
        ("stage2", 48),
        ("stage2", 64),
        ("stage3", 48),
        ("stage3", 64),
    ]
