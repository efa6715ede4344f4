"""SAM for the masks and CLIP for their names, one after the other, on photographs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from benchmarks.paper.record import Everything
from benchmarks.paper.text_to_mask import TwoModels, name_segments, tune
from benchmarks.photographs.record import Heads
from benchmarks.quality.behind_api import Teachers, find_teachers
from samclip_sdk.bundle.manifest import PAD_COLOUR
from training.asked_pictures import AskedPicture
from training.composed.label_questions import Question
from training.composed.scenes import Scene
from training.config import DistillConfig, PhotographTeachers
from training.config_file import find_config, load_model, load_stage, stage_names
from training.teachers.captions import EMPTY_NAMES
from training.teachers.photograph_pair import PhotographPair
from training.teachers.teacher_pair import Pair


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
        names = sorted({label for asked in tuning for label in asked.labels})
        self.settings = tune(
            self._two,
            (as_scene(asked, names) for asked in tuning),
            classes=teachers.classes(names),
            nothing=self._nothing,
        )

    def ask(self, asked: AskedPicture) -> Iterator[tuple[Heads, np.ndarray]]:
        """Names segments among the labels alone, and among these and names for nothing."""
        height, width = asked.image.shape[:2]
        classes = self._teachers.classes(asked.labels)
        found = self._two.look(padded(asked.image)).choose(self.settings)
        both = np.concatenate([classes, self._nothing])
        rivals: dict[Heads, np.ndarray] = {"two_models": classes, "two_models_or_nothing": both}
        for heads, known in rivals.items():
            masks = name_segments(*found, known, labels=len(classes))
            yield heads, masks[:, :height, :width]


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


def as_scene(asked: AskedPicture, names: Sequence[str]) -> tuple[Scene, Question]:
    """A picture as a square scene, and what it is asked for, as places in `names`."""
    size = max(asked.image.shape[:2])
    height, width = asked.image.shape[:2]
    masks = np.zeros((len(asked.masks), size, size), bool)
    masks[:, :height, :width] = asked.masks
    places = {name: place for place, name in enumerate(names)}
    present, absent = (
        tuple(places[label] for label in labels) for labels in (asked.present, asked.absent)
    )
    scene = Scene(
        padded(asked.image),
        masks=masks,
        labels=np.array(present, np.int64),
        boxes=np.zeros((len(masks), 4), np.float32),
        unlabelled=np.empty(0, np.int64),
    )
    return scene, Question(present, absent)


def padded(image: np.ndarray) -> np.ndarray:
    """A picture, uint8 [H,W,3], made square at its right or bottom in the colour of padding."""
    height, width = image.shape[:2]
    square = np.empty((max(height, width),) * 2 + (3,), np.uint8)
    square[:] = PAD_COLOUR
    square[:height, :width] = image
    return square
