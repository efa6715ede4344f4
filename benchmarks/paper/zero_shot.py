"""Teachers and student, by resolution, and from texts to masks (tables 1, 2, 5, 6 and 7)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from benchmarks.paper.run import Inputs
from benchmarks.quality.measure import add_costs, add_texts, ask_masks
from benchmarks.quality.ways import two_heads
from benchmarks.suite import Measuring
from benchmarks.teachers import by_logits
from benchmarks.two_models import TwoModels

_OF_SEGMENTATION = (3 / 8, 1 / 2, 3 / 4, 1)
_MULTIPLE_PX = 32


def measure_teachers(measured: Measuring, inputs: Inputs) -> None:
    """Measures both teachers and the student that was merged of them (table 1)."""
    teachers = inputs.teachers
    inputs.add_names(measured, teachers.rank, who="teachers: clip_teacher")
    if not inputs.sam_is_student:
        inputs.add_prompts(measured, teachers.sam, who="teachers: sam_teacher")
    inputs.add_skills(measured, inputs.student(), who="teachers: student")


def measure_resolutions(
    measured: Measuring, inputs: Inputs, *, resolutions: Sequence[int] | None = None
) -> None:
    """Measures the student as each stage left it, at each resolution (table 6).

    By default these are four, up to that of segmentation: 96 to 256, or 128 to 384 pixels.
    """
    for stage in inputs.students:
        student = inputs.student(stage)
        largest = student.config.segmentation_resolution
        sizes = (round(share * largest / _MULTIPLE_PX) for share in _OF_SEGMENTATION)
        usual = dict.fromkeys(_MULTIPLE_PX * size for size in sizes)  # some may be alike
        for resolution in resolutions or usual:
            model = inputs.behind_api(student, classification_px=resolution)
            who = f"resolutions: {stage} {resolution}"
            inputs.add_names(measured, partial(by_logits, model), who=who)


def measure_text_to_mask(measured: Measuring, inputs: Inputs) -> None:
    """One model with one head, with both, and two models in a row (tables 2, 5 and 7).

    All are asked for the same labels, present and absent ones, of the same pictures.
    """
    student = inputs.calibrated()
    two = TwoModels(inputs.teachers, inputs.dataset.tuning(student.embed_text))
    ways = two_heads(student)
    found = ask_masks(
        measured, student, inputs.dataset, ways=ways, pipeline=two, doing="text-to-mask"
    )
    threshold = student.manifest.calibration.presence_threshold
    add_texts(measured, found, inputs.bootstrap, threshold=threshold)
    add_costs(measured, found, split=inputs.dataset.split)
    measured.settings |= {"everything": two.settings.model_dump(), "tuned_on": two.tuned_on}
