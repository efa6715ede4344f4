"""The run that is measured: its teachers, its students, and what they are asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np

from benchmarks.intervals import Bootstrap
from benchmarks.metrics.masks import OBJECT_ROW, prompt_figures
from benchmarks.quality.drawings import Drawings
from benchmarks.quality.measure import Classify, add_names, ask_masks
from benchmarks.quality.photographs import ValPhotographs
from benchmarks.suite import Measuring
from benchmarks.teachers import (
    Teachers,
    behind_api,
    by_logits,
    find_pair,
    find_students,
    give_embeddings,
    open_teachers,
)
from samclip_sdk import SamClip
from samclip_sdk.bundle.files import file_sha256
from samclip_sdk.errors import BundleError
from samclip_sdk.modeling.build import SamClipModel
from samclip_sdk.modeling.checkpoint import load_checkpoint
from training.calibrate import CALIBRATION_NAME
from training.errors import TrainingError
from training.teachers.photograph_pair import PARTS, PhotographPair
from training.teachers.teacher_pair import WEIGHTS_NAME, Pair

_TEACHERS = ("clip_teacher", *PARTS)


@dataclass(frozen=True)
class Inputs:
    """A run, RUNS/CONFIG; the last of its `students` is the one that ships.

    Its weights are loaded when they are first needed. Short trainings are of so many `steps`.
    """

    run: Path
    pair: Pair
    students: tuple[str, ...]
    dataset: Drawings | ValPhotographs
    steps: int
    seed: int = 0

    @property
    def shipped(self) -> str:
        """The stage of the student that is measured."""
        return self.students[-1]

    @property
    def sam_is_student(self) -> bool:
        """Whether the student itself stands for the SAM teacher, which was not kept."""
        return isinstance(self.pair, PhotographPair) and self.pair.merged is not None

    @cached_property
    def teachers(self) -> Teachers:
        """Both teachers, SAM and CLIP's text tower behind the public API."""
        return open_teachers(self.pair)

    @cached_property
    def names(self) -> list[str]:
        """All names that pictures are named among, each once."""
        namings = self.dataset.namings()
        return list(dict.fromkeys(name for naming in namings for name in naming.names))

    @property
    def bootstrap(self) -> Bootstrap:
        """What intervals are made by."""
        return Bootstrap(seed=self.seed)

    def student(self, stage: str | None = None) -> SamClipModel:
        """The student as a stage left it, or the last, in eval mode and without gradients."""
        return load_checkpoint(self.run / (stage or self.shipped)).requires_grad_(False)

    def behind_api(self, student: SamClipModel, *, classification_px: int | None = None) -> SamClip:
        """Puts a student behind the public API; it knows the names from the CLIP teacher.

        Its text encoder is the CLIP teacher's, so that the embeddings are its own.
        """
        model = behind_api(
            student, classification_px=classification_px, tokenizer=self.pair.tokenizer
        )
        give_embeddings(model, self.names, self.teachers.classes(self.names))
        return model

    def calibrated(self) -> SamClip:
        """The student that ships, with the thresholds of its checkpoint."""
        folder = self.run / self.shipped
        if not (folder / CALIBRATION_NAME).is_file():
            raise BundleError(
                f"{folder} has no {CALIBRATION_NAME}, without which it cannot tell absent labels: "
                f"run `python -m training calibrate --runs {folder.parent.parent}` first"
            )
        student = SamClip.load("torch", model=folder)
        give_embeddings(student, self.names, self.teachers.classes(self.names))
        return student

    def weights(self, *students: str) -> dict[str, str]:
        """The first 16 digits of the sha256 of the weights of teachers and students.

        Of those that the run has: foundation models are none of its folders.
        """
        paths = {name: self.run / name / WEIGHTS_NAME for name in (*_TEACHERS, *students)}
        found = {name: path for name, path in paths.items() if path.is_file()}
        return {name: file_sha256(path)[:16] for name, path in found.items()}

    def add_names(self, measured: Measuring, classify: Classify, *, who: str) -> None:
        """How well pictures are named."""
        add_names(measured, self.dataset, classify, self.bootstrap, who=who)

    def add_prompts(self, measured: Measuring, model: SamClip, *, who: str) -> None:
        """Mean IoU of the prompts over all objects."""
        found = ask_masks(measured, model, self.dataset, ways={}, doing=f"masks: {who}")
        table = np.array(found.objects, OBJECT_ROW)
        figures = prompt_figures(table, self.bootstrap)
        measured.add(f"{who}: prompts", self.dataset.split, n=len(table), **figures)

    def add_skills(self, measured: Measuring, student: SamClipModel, *, who: str) -> None:
        """What a student knows of both teachers' skills, at its own resolutions."""
        model = self.behind_api(student)
        self.add_names(measured, partial(by_logits, model), who=who)
        self.add_prompts(measured, model, who=who)


def choose_students(run: Path, *, student: str | None) -> Sequence[str]:
    """The stages of a run up to the student that ships; the last if nobody says which."""
    there = find_students(run)
    if student is not None and student not in there:
        raise TrainingError(f"{run / student} holds no merged model: there are {', '.join(there)}")
    return there if student is None else there[: there.index(student) + 1]


def open_inputs(
    run: Path,
    dataset: Drawings | ValPhotographs,
    *,
    students: Sequence[str],
    steps: int,
    seed: int,
) -> Inputs:
    """Reads of what teachers the last student was made."""
    pair = find_pair(run, student=students[-1])
    return Inputs(run, pair, tuple(students), dataset, steps, seed)
