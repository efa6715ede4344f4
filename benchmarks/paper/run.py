"""The run that is measured: teachers, student, and text to mask (tables 1, 2, 5 and 7)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

from benchmarks.intervals import Bootstrap
from benchmarks.quality.measure import add_names, add_prompts, add_texts, ask_masks, two_heads
from benchmarks.quality.photographs import ValPhotographs, tuning_images
from benchmarks.suite import Measuring
from benchmarks.teachers import (
    Teachers,
    by_logits,
    find_pair,
    find_student,
    give_embeddings,
    open_teachers,
)
from benchmarks.two_models import GRID, TwoModels
from samclip_sdk import SamClip
from samclip_sdk.bundle.files import file_sha256
from samclip_sdk.errors import BundleError
from training.calibrate import CALIBRATION_NAME
from training.teachers.teacher_pair import CLIP_TEACHER, SAM_TEACHER, WEIGHTS_NAME, Pair


@dataclass(frozen=True)
class Inputs:
    """The student of a run, in its `folder`, its teachers, and what they are asked.

    Weights are loaded when they are first needed.
    """

    folder: Path
    pair: Pair
    dataset: ValPhotographs

    @cached_property
    def teachers(self) -> Teachers:
        """Both teachers, SAM and CLIP's text tower behind the public API."""
        return open_teachers(self.pair)

    @property
    def bootstrap(self) -> Bootstrap:
        """What intervals are made by."""
        return Bootstrap(seed=self.dataset.seed)

    @cached_property
    def student(self) -> SamClip:
        """The student, which knows all names from the CLIP teacher: they share a text encoder."""
        student = SamClip.load("torch", model=self.folder)
        namings = self.dataset.namings()
        names = list(dict.fromkeys(name for naming in namings for name in naming.names))
        give_embeddings(student, names, self.teachers.classes(names))
        return student

    def weights(self) -> dict[str, str]:
        """The first 16 digits of the sha256 of the weights of teachers and student.

        Of those that the run has: foundation models are none of its folders.
        """
        names = (CLIP_TEACHER, SAM_TEACHER, self.folder.name)
        paths = {name: self.folder.parent / name / WEIGHTS_NAME for name in names}
        return {name: file_sha256(path)[:16] for name, path in paths.items() if path.is_file()}


def open_inputs(run: Path, dataset: ValPhotographs) -> Inputs:
    """Finds the last student of a run, and its teachers."""
    student = find_student(run)
    return Inputs(student, find_pair(student), dataset)


def measure_teachers(measured: Measuring, inputs: Inputs) -> None:
    """Measures both teachers and the student that was merged of them (table 1)."""
    teachers, student, dataset = inputs.teachers, inputs.student, inputs.dataset
    rank = partial(by_logits, student)
    for who, classify in {"clip_teacher": teachers.rank, "student": rank}.items():
        add_names(measured, dataset, classify, inputs.bootstrap, who=f"teachers: {who}")
    for who, model in {"sam_teacher": teachers.sam, "student": student}.items():
        found = ask_masks(measured, model, dataset, ways={}, doing=f"masks: {who}")
        add_prompts(measured, found, inputs.bootstrap, who=f"teachers: {who}")


def measure_text_to_mask(measured: Measuring, inputs: Inputs) -> None:
    """One model with one head, with both, and two models in a row (tables 2, 5 and 7).

    All are asked for the same labels, present and absent ones, of the same images.
    """
    if not (inputs.folder / CALIBRATION_NAME).is_file():
        raise BundleError(
            f"{inputs.folder} has no {CALIBRATION_NAME}, without which it cannot tell absent "
            f"labels: run `python -m training calibrate --runs {inputs.folder.parent.parent}` first"
        )
    student, dataset = inputs.student, inputs.dataset
    two = TwoModels(inputs.teachers, tuning_images(dataset.root, seed=dataset.seed))
    how = {"ways": two_heads(student), "pipeline": two, "doing": "text-to-mask"}
    found = ask_masks(measured, student, dataset, **how)
    threshold = student.manifest.calibration.presence_threshold
    add_texts(measured, found, inputs.bootstrap, threshold=threshold)
    grid = {"points_per_side": GRID["points_per_side"], "nms_iou": GRID["box_nms_thresh"]}
    everything = two.thresholds._asdict() | grid
    measured.settings |= {"everything": everything, "tuned_on": two.tuned_on}
