"""SAM for the masks and CLIP for their names, one after the other, on photographs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from benchmarks.paper.record import Everything
from benchmarks.paper.text_to_mask import TwoModels, ask_two_models, tune
from benchmarks.photographs.record import Heads
from benchmarks.quality.behind_api import Teachers, find_teachers
from training.asked_pictures import AskedPicture
from training.config import DistillConfig, PhotographTeachers
from training.config_file import find_config, load_model, load_stage, stage_names
from training.real.photograph_questions import AskedPhotographs
from training.real.photographs import Photographs
from training.teachers.captions import EMPTY_NAMES
from training.teachers.photograph_pair import PhotographPair
from training.teachers.teacher_pair import Pair

_TUNING_PICTURES = 6


class Pipeline:
    """Both teachers of a run, asked for the labels of pictures.

    Args:
        teachers: SAM behind the public API, and CLIP.
        tuning: pictures that are not measured, on which SAM's own thresholds are chosen.
    """

    def __init__(self, teachers: Teachers, tuning: Sequence[AskedPicture]) -> None:
        self._teachers = teachers
        self._nothing = teachers.classes(EMPTY_NAMES)
        self._two = TwoModels(teachers.sam, teachers.clip, settings=Everything())
        self.settings = tune(self._two, tuning, classes=teachers.classes, nothing=self._nothing)

    def ask(self, asked: AskedPicture) -> Iterator[tuple[Heads, Sequence[np.ndarray]]]:
        """Names segments among the labels alone, and among these and names for nothing."""
        classes = self._teachers.classes(asked.labels)
        for heads, masks, _ in ask_two_models(
            self._two, asked.image, classes, self._nothing, settings=self.settings
        ):
            yield heads, masks


def tuning_pictures(photographs: Photographs, *, seed: int) -> list[AskedPicture]:
    """A few pictures of complete sets that show something, to choose thresholds by."""
    asked = AskedPhotographs(photographs, seed=seed)
    return list(islice((each for each in asked.ask(Counter()) if each.present), _TUNING_PICTURES))


def find_pair(run: Path) -> Pair:
    """The teachers of RUNS/CONFIG, of the kind that its config merges.

    Raises:
        OSError: a file is missing.
        TrainingError: the folder is not named after a config.
    """
    path = find_config(run.name)
    for name in stage_names(path):
        settings = load_stage(path, name)
        if isinstance(settings, DistillConfig):
            teachers = settings.teachers
            if isinstance(teachers, PhotographTeachers):
                return PhotographPair(load_model(path), runs=run)
    return find_teachers(run)
