"""The stages that train the two small teachers."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from torch import nn

from samclip_sdk.modeling.build import build_model
from training.batches import VALIDATION_SEED
from training.composed.datasets import Composed
from training.data_config import Scenes
from training.files import check_trained, write_json
from training.stage import Job, Stage, StageSettings, TrainedSettings, start_folder
from training.tasks.tasks import ClipTeacherTask, SamTeacherTask
from training.teacher_config import SmallClipSettings
from training.teachers.captions import Captions
from training.teachers.small import SmallSam
from training.teachers.teacher_pair import new_clip
from training.teachers.weights import (
    SETTINGS_NAME,
    WEIGHTS_NAME,
    give_weights,
    read_weights,
    save_weights,
)


class ClipTeacherConfig(SmallClipSettings, TrainedSettings):
    """The small CLIP: a timm image tower and a text tower, trained contrastively."""

    task: Literal["clip_teacher"]

    @property
    def images_in_batch(self) -> int:
        """The number of images in a batch at the lowest resolution."""
        return self.images.batch

    def prepare(self, stage: Stage) -> Job:
        """Builds the CLIP, its captions and its images."""
        clip, composed = new_clip(stage.model, self), Composed(self.nouns)
        task = ClipTeacherTask(
            clip,
            composed.images(self.images, seed=self.optimisation.seed),
            Captions(composed.nouns, embed_dim=stage.model.embed_dim),
            validation=composed.images(self.images, seed=VALIDATION_SEED),
            text_weight=self.text_weight,
            text_only_steps=self.text_only_steps,
        )
        return Job(task, self.optimisation, lambda: _write_teacher(clip, self, stage.run))


class SamTeacherConfig(TrainedSettings):
    """The small SAM: the merged model's own SAM parts, trained on true masks of scenes.

    `starts_from` is a trained teacher, a stage's name or a folder, whose training goes on with a
    new schedule.
    """

    task: Literal["sam_teacher"]
    starts_from: str | None = None
    scenes: Scenes

    @property
    def images_in_batch(self) -> int:
        """The number of scenes in a batch."""
        return self.scenes.batch

    def check(self, *, runs: Path) -> None:
        """Raises TrainingError if there is no teacher to start from."""
        if self.starts_from is not None:
            check_trained(start_folder(self.starts_from, runs=runs))

    def prepare(self, stage: Stage) -> Job:
        """Builds the SAM and its scenes."""
        seed = self.optimisation.seed
        sam = SmallSam(build_model(stage.model, seed=seed))
        if self.starts_from is not None:
            path = start_folder(self.starts_from, runs=stage.runs) / WEIGHTS_NAME
            give_weights(sam, read_weights(path), path)
        held_out = None
        if self.optimisation.validation is not None:
            held_out = stage.composed.scenes(self.scenes, seed=VALIDATION_SEED)
        scenes = stage.composed.scenes(self.scenes, seed=seed)
        task = SamTeacherTask(sam, scenes, validation=held_out)
        return Job(task, self.optimisation, lambda: _write_teacher(sam, self, stage.run))


def _write_teacher(module: nn.Module, settings: StageSettings, run: Path) -> None:
    """Writes a teacher's weights, and its settings, which say how to build it."""
    write_json(run / SETTINGS_NAME, settings.model_dump(mode="json"))
    save_weights(module.state_dict(), run / WEIGHTS_NAME)
