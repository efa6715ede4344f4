"""The base of all stages. A stage's settings check what it needs, and run it."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from lightning_fabric import Fabric

from samclip_sdk.modeling.config import ModelConfig
from samclip_sdk.system.progress import OnProgress, no_progress
from training.composed.datasets import Composed
from training.data_config import Settings
from training.errors import TrainingError
from training.files import versions_of
from training.loop.pace import Pace, measure_pace, peak_bytes
from training.loop.run_folder import claimed_run
from training.loop.train import train
from training.loop_config import Optimisation, Precision
from training.tasks.tasks import Task
from training.teacher_config import SmallClipSettings
from training.teachers.teacher_pair import read_clip_settings

_NOUNS = 150  # of composed data, until a CLIP teacher is trained


@dataclass(frozen=True)
class Stage:
    """The place and the means of one run of a stage.

    Attributes:
        run: the folder of the run. Its name is the stage's name.
        runs: the folder with the runs of all stages of the config.
        model: the config of the student.
        fabric: the launched processes.
        allow_changes: go on with a run although its settings have changed.
        on_progress: is told what is being done.
    """

    run: Path
    runs: Path
    model: ModelConfig
    fabric: Fabric
    allow_changes: bool = False
    on_progress: OnProgress = field(default=no_progress)

    @property
    def tell(self) -> OnProgress:
        """`on_progress` in the first process, nothing in the others."""
        return self.on_progress if self.fabric.is_global_zero else no_progress

    @cached_property
    def clip(self) -> SmallClipSettings | None:
        """The settings of the small CLIP, if one was trained."""
        return read_clip_settings(self.runs)

    @cached_property
    def composed(self) -> Composed:
        """The source of composed images and scenes."""
        return Composed(_NOUNS if self.clip is None else self.clip.nouns)


class StageSettings(Settings):
    """The settings of one stage.

    Attributes:
        task: the kind of the stage.
        one_process: whether it runs in a single process only.
        one_machine: whether it runs on a single machine only.
    """

    one_process: ClassVar[bool] = False
    one_machine: ClassVar[bool] = False

    task: str

    @property
    def computes_in(self) -> Precision:
        """The precision of the computation."""
        return "fp32"

    def check(self, *, runs: Path) -> None:
        """Looks for all checkpoints, folders and files that the stage needs, if it needs any.

        The folder `runs` has the runs of all stages of the config.

        Raises:
            TrainingError: one is missing; the message tells what names it, or what makes it.
        """

    def check_processes(self, processes: int) -> None:
        """Raises TrainingError if so many processes cannot share the stage's steps."""

    def run(self, stage: Stage) -> Path:
        """Runs the stage to its end, and returns the folder of the result."""
        raise NotImplementedError

    def provenance(self, stage: Stage, packages: Sequence[str]) -> dict[str, Any]:
        """Returns how a result comes about, ready for JSON, with the versions of packages."""
        return {
            "stage": stage.run.name,
            "settings": self.model_dump(mode="json"),
            "versions": versions_of(*packages),
        }

    def told(self, folder: Path) -> str:
        """What a run that is done tells of its result besides where it is: lines, or nothing."""
        return ""

    def smoke(self, stage: Stage, *, steps: int) -> Pace:
        """Runs the whole stage in a temporary folder, for it takes minutes, and measures the time.

        Stages that take longer run so many steps.
        """
        with tempfile.TemporaryDirectory() as folder:
            began = time.monotonic()
            self.run(replace(stage, run=Path(folder, stage.run.name)))
            return Pace(
                whole="the whole stage",
                images_per_s=None,
                peak_bytes=peak_bytes(stage.fabric),
                hours=(time.monotonic() - began) / 3600,
            )


@dataclass(frozen=True)
class Job:
    """A training that is ready to start.

    Attributes:
        task: what is trained.
        optimisation: how it is trained, with the number of steps.
        write: writes the result into the run's folder.
    """

    task: Task
    optimisation: Optimisation
    write: Callable[[], None]


class TrainedSettings(StageSettings):
    """The settings of a stage that the training loop runs."""

    optimisation: Optimisation

    @property
    def computes_in(self) -> Precision:
        """The precision of the computation."""
        return self.optimisation.precision

    @property
    def images_in_batch(self) -> int | None:
        """The number of images in a batch at the lowest resolution; None if there are none."""
        raise NotImplementedError

    def prepare(self, stage: Stage) -> Job:
        """Builds the model, the teachers and the data of the training."""
        raise NotImplementedError

    def batches_in_step(self, processes: int) -> int:
        """Returns each process's batches in a step; raises TrainingError if they are not whole."""
        wanted, batch = self.optimisation.images_per_step, self.images_in_batch
        if wanted is None:
            return 1
        if batch is None:
            raise TrainingError(
                f"a stage of the task {self.task} has no images: leave out "
                "optimisation.images_per_step"
            )
        batches, rest = divmod(wanted, batch * processes)
        if rest:
            who = "1 process" if processes == 1 else f"{processes} processes"
            raise TrainingError(
                f"optimisation.images_per_step is {wanted}: {who} with batches of {batch} "
                f"images need{'s' if processes == 1 else ''} a multiple of {batch * processes}"
            )
        return batches

    def check_processes(self, processes: int) -> None:
        """Raises TrainingError if so many processes cannot share the stage's steps."""
        self.batches_in_step(processes)

    def run(self, stage: Stage) -> Path:
        """Trains to the end, from wherever an earlier run stopped, and writes the result."""
        job, batches = self.prepare(stage), self.batches_in_step(stage.fabric.world_size)
        made_with: dict[str, Any] = {"model": stage.model.model_dump(mode="json")}
        if self.images_in_batch is not None:
            made_with["batches_per_step"] = batches * stage.fabric.world_size
        made_with |= self.model_dump(mode="json")
        # The folder is claimed last, so that a refused run leaves nothing behind.
        with claimed_run(
            stage.run, made_with, allow_changes=stage.allow_changes, fabric=stage.fabric
        ):
            train(
                job.task,
                job.optimisation,
                stage.run,
                fabric=stage.fabric,
                accumulate=batches,
                on_progress=stage.on_progress,
            )
            if stage.fabric.is_global_zero:
                job.write()
        return stage.run

    def smoke(self, stage: Stage, *, steps: int) -> Pace:
        """Trains a few steps in a temporary folder, and measures how long the stage will take."""
        with tempfile.TemporaryDirectory() as folder:
            job = self.prepare(replace(stage, run=Path(folder, stage.run.name)))
            return measure_pace(
                job.task,
                job.optimisation,
                fabric=stage.fabric,
                accumulate=self.batches_in_step(stage.fabric.world_size),
                steps=steps,
            )


def start_folder(starts_from: str, *, runs: Path) -> Path:
    """Returns the folder of a start: a stage's name in `runs`, or a path with a slash."""
    return Path(starts_from) if "/" in starts_from else runs / starts_from
