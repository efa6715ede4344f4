"""The stages that train the two small teachers."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from torch import nn

from samclip_sdk.modeling.build import build_model
from samclip_sdk.system.atomic_file import atomic_file
from training.batches import VALIDATION_SEED
from training.composed.datasets import Composed
from training.data_config import Scenes
from training.inputs import check_trained
from training.stage import Job, Stage, StageSettings, TrainedSettings
from training.tasks.tasks import ClipTeacherTask, SamTeacherTask
from training.teacher_config import SmallClipSettings
from training.teachers.captions import Captions
from training.teachers.small import SmallSam, save_teacher
from training.teachers.teacher_pair import new_clip
from training.teachers.weights import SETTINGS_NAME, WEIGHTS_NAME, give_weights, read_weights


class ClipTeacherConfig(SmallClipSettings, TrainedSettings):
    """The small CLIP: a timm image tower and a text tower, trained contrastively.

    `starts_from` is the folder of a trained teacher, whose training goes on with a new schedule.
    """

    task: Literal["clip_teacher"]
    starts_from: Path | None = None

    @property
    def pictures_in_batch(self) -> int:
        """The number of pictures in a batch at the lowest resolution."""
        return self.pictures.batch

    def check(self, *, runs: Path) -> None:
        """Raises TrainingError if there is no teacher to start from."""
        check_trained(self.starts_from)

    def prepare(self, stage: Stage) -> Job:
        """Builds the CLIP, its captions and its pictures."""
        clip, composed = new_clip(stage.model, self), Composed(self.nouns)
        _go_on(clip, self.starts_from)
        task = ClipTeacherTask(
            clip,
            composed.pictures(self.pictures, seed=self.optimisation.seed),
            Captions(composed.nouns, embed_dim=stage.model.embed_dim),
            validation=composed.pictures(self.pictures, seed=VALIDATION_SEED),
            text_weight=self.text_weight,
            text_only_steps=self.text_only_steps,
        )
        return Job(task, self.optimisation, lambda: _write_teacher(clip, self, stage.run))


class SamTeacherConfig(TrainedSettings):
    """The small SAM: the merged model's own SAM parts, trained on true masks of scenes.

    `starts_from` is the folder of a trained teacher, or of a merged checkpoint, whose training goes
    on with a new schedule.
    """

    task: Literal["sam_teacher"]
    starts_from: Path | None = None
    scenes: Scenes

    @property
    def pictures_in_batch(self) -> int:
        """The number of scenes in a batch."""
        return self.scenes.batch

    def check(self, *, runs: Path) -> None:
        """Raises TrainingError if there is no teacher to start from."""
        check_trained(self.starts_from)

    def prepare(self, stage: Stage) -> Job:
        """Builds the SAM and its scenes."""
        seed = self.optimisation.seed
        sam = SmallSam(build_model(stage.model, seed=seed))
        _go_on(sam, self.starts_from)
        held_out = None
        if self.optimisation.validation is not None:
            held_out = stage.composed.scenes(self.scenes, seed=VALIDATION_SEED)
        scenes = stage.composed.scenes(self.scenes, seed=seed)
        task = SamTeacherTask(sam, scenes, validation=held_out)
        return Job(task, self.optimisation, lambda: _write_teacher(sam, self, stage.run))


def _go_on(teacher: nn.Module, folder: Path | None) -> None:
    """Loads the weights of a trained teacher, from its own folder or from a student's."""
    if folder is not None:
        path = folder / WEIGHTS_NAME
        parts = {key.partition(".")[0] for key in teacher.state_dict()}
        state = read_weights(path)
        own = {key: x for key, x in state.items() if key.partition(".")[0] in parts}
        give_weights(teacher, own, path)


def _write_teacher(module: nn.Module, settings: StageSettings, run: Path) -> None:
    """Writes a teacher's weights, and its settings, which say how to build it."""
    with atomic_file(run / SETTINGS_NAME) as file:
        file.write(settings.model_dump_json(indent=2).encode())
    save_teacher(module, run / WEIGHTS_NAME)
