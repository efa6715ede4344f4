"""The paper's three stages: what they train, on what data, and the checkpoint that they write."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator
from torch.utils.data import Dataset

from samclip_sdk.modeling.build import SamClipModel
from samclip_sdk.modeling.checkpoint import load_checkpoint, read_provenance
from samclip_sdk.modeling.config import ModelConfig
from training.batches import VALIDATION_SEED, Joined
from training.data_config import Pictures, Sa1b, Scenes, Shards
from training.errors import TrainingError, TrainingWarning
from training.inputs import check_folder, check_shards, check_trained
from training.real.embedding_cache import EmbeddingCache
from training.real.multiscale import Multiscale
from training.real.records import Split
from training.real.sa1b import Sa1bBatches, Sa1bPairs
from training.real.shards import FixedCrops, ShardBatches, ShardPictures
from training.real.zero_shot import LabelledPictures
from training.stage import Job, Stage, TrainedSettings, start_folder
from training.student_file import embed_names, student_provenance, write_student
from training.tasks.distill import DistillTask
from training.teacher_config import FoundationTeachers, SmallTeachers, Teachers
from training.teachers.teacher_pair import Pair, check_clip, check_sam, open_pair

_TEACHERS = "teachers"


class DistillConfig(TrainedSettings):
    """One of the paper's three stages.

    Args:
        task: `distill`.
        teachers: the CLIP and the SAM that the student imitates.
        optimisation: how the loop steps.
        pictures: D_CLIP.
        scenes: D_SAM; None if no loss needs it.
        grad_checkpointing: compute the backbone's layers again on the way back, to save memory.
        sam_weight: lambda, the weight of SAM's loss; 0 leaves it out.
        region_weight: the weight of region distillation, which is ours. It compares the CLIP head's
            features in a box of a scene with the teacher's embedding of this crop.
        dense_weight: the weight of the same for each patch; it needs `region_weight`, too.
        starts_from: an earlier stage, or `teachers` for a new student: SAM's weights, and a CLIP
            head of copies of SAM's last block.
    """

    task: Literal["distill"]
    teachers: Teachers = SmallTeachers()
    pictures: Annotated[Pictures | Shards, Field(discriminator="source")]
    scenes: Annotated[Scenes | Sa1b, Field(discriminator="source")] | None = None
    grad_checkpointing: bool = False
    sam_weight: float = Field(default=10.0, ge=0)
    region_weight: float = Field(default=0.0, ge=0)
    dense_weight: float = Field(default=0.0, ge=0)
    starts_from: str

    @model_validator(mode="after")
    def _check(self) -> DistillConfig:
        if isinstance(self.teachers, FoundationTeachers) and not isinstance(self.pictures, Shards):
            raise ValueError(
                "teachers of the kind foundation need pictures of the source shards: they would "
                "embed the padding of others, too"
            )
        if self.scenes is None and self.asks_sam:
            raise ValueError(
                "sam_weight and region_weight need scenes: give some, or set both to 0"
            )
        if self.region_weight and not (self.scenes and self.scenes.random_regions):
            raise ValueError("region_weight needs scenes with random_regions, which sa1b has not")
        if self.dense_weight and not self.region_weight:
            raise ValueError("dense_weight needs region_weight, too")
        return self

    @property
    def asks_sam(self) -> bool:
        """Whether a loss needs scenes and the SAM teacher."""
        return bool(self.sam_weight or self.region_weight)

    @property
    def pictures_in_batch(self) -> int:
        """The number of pictures in a batch at the lowest resolution."""
        return self.pictures.batch

    def check(self, *, runs: Path) -> None:
        """Looks for teachers, start and data; raises TrainingError if one is missing."""
        check_clip(self.teachers, runs=runs)
        if self.starts_from == _TEACHERS or self.asks_sam:
            check_sam(self.teachers, runs=runs)
        if self.starts_from != _TEACHERS:
            check_trained(start_folder(self.starts_from, runs=runs))
        if isinstance(self.pictures, Shards):
            check_shards(self.pictures)
        if isinstance(self.scenes, Sa1b):
            check_folder(self.scenes.folder, setting="scenes.folder")

    def prepare(self, stage: Stage) -> Job:
        """Builds the student, its teachers and its data."""
        pair = open_pair(self.teachers, stage.model, runs=stage.runs)
        data = MergeData(self, stage, pair)
        if stage.fabric.is_global_zero:
            for fault in data.faults:
                warnings.warn(fault, TrainingWarning, stacklevel=2)
        student, start = self._student(stage, pair), start_folder(self.starts_from, runs=stage.runs)
        student.image_encoder.set_grad_checkpointing(self.grad_checkpointing)
        # Read now, before somebody trains the earlier stage anew.
        new = self.starts_from == _TEACHERS
        provenance = student_provenance(
            self,
            stage=stage.run.name,
            nouns=None if stage.clip is None else stage.clip.nouns,
            licences=pair.licences(),
            starts_from=pair.provenance() if new else read_provenance(start),
        )
        classes = data.classes
        task = DistillTask(
            student,
            data.train,
            clip=pair.clip,
            sam=pair.sam if self.asks_sam else None,
            sam_weight=self.sam_weight,
            region_weight=self.region_weight,
            dense_weight=self.dense_weight,
            validation=data.validation,
            classes=None if classes is None else embed_names(student, classes, folder=start),
        )
        return Job(
            task,
            self.optimisation.with_steps(data.steps),
            lambda: write_student(student, stage.run, start=start, provenance=provenance),
        )

    def _student(self, stage: Stage, pair: Pair) -> SamClipModel:
        """Returns a new student, or the result of an earlier stage."""
        if self.starts_from == _TEACHERS:
            return pair.stage0(seed=self.optimisation.seed)
        return _load_student(start_folder(self.starts_from, runs=stage.runs), stage.model)


def _load_student(folder: Path, model: ModelConfig) -> SamClipModel:
    student = load_checkpoint(folder)
    if student.config != model:
        raise TrainingError(
            f"{folder} is of another model than {model.name}: its config.json differs "
            "from the preset"
        )
    return student


class MergeData:
    """The data of one of the paper's stages.

    Args:
        settings: of the stage.
        stage: where and on what it runs.
        pair: the teachers, whose embeddings the pictures may have.

    Attributes:
        train: batches by index, with `pictures` and perhaps `scenes`.
        validation: batches that are never trained on; None without a validation.
        classes: names of the `nouns` in validation pictures; None if there are none.
        steps: number of steps of the whole training.
        faults: what is wrong with the files, in lines. Broken records are counted later, when they
            are read.

    Raises:
        TrainingError: there is no data, the embeddings are of other pictures, or epochs are asked
            of composed pictures, which have no end.
    """

    def __init__(self, settings: DistillConfig, stage: Stage, pair: Pair) -> None:
        self.settings = settings
        self.stage = stage
        self.pair = pair
        self.batches_per_step = stage.processes * settings.batches_in_step(stage.processes)
        self.classes: list[str] | None = None
        self.faults: list[str] = []
        seed = settings.optimisation.seed + 1  # another one than the teachers' own
        pictures = self._pictures(seed)
        self.steps = settings.optimisation.steps
        if settings.optimisation.epochs:
            self.steps = self._steps_of_epochs(pictures)
        self.train = self._join(pictures, seed=seed, split="train")
        self.validation: Dataset[Any] | None = None
        if settings.optimisation.validation is not None:
            held_out = self._validation_pictures()
            self.validation = self._join(held_out, seed=VALIDATION_SEED, split="validation")

    def _join(self, pictures: Dataset[Any], *, seed: int, split: Split) -> Dataset[Any]:
        datasets, scenes = {"pictures": pictures}, self.settings.scenes
        if isinstance(scenes, Sa1b):
            pairs = Sa1bPairs(scenes.folder, split=split)
            if pairs.unpaired and split == "train":
                self.faults.append(f"{scenes.folder}: {pairs.unpaired} files without their pair")
            datasets["scenes"] = Sa1bBatches(
                pairs,
                resolution=scenes.resolution,
                batch=scenes.batch,
                prompts=scenes.prompts,
                seed=seed,
            )
        elif scenes is not None:
            datasets["scenes"] = self.stage.composed.scenes(scenes, seed=seed)
        return Joined(datasets)

    def _pictures(self, seed: int) -> Dataset[Any]:
        settings = self.settings.pictures
        if not isinstance(settings, Shards):
            return self.stage.composed.pictures(settings, seed=seed)
        found = ShardPictures(settings, split="train", on_progress=self.stage.tell)
        self.faults += [f"shards: {n} {kind}" for kind, n in found.index.faults.items() if n]
        embeddings = None
        if settings.embeddings is not None:
            crops = FixedCrops(found, resolution=self.pair.clip.resolution, batch=1, seed=seed)
            fingerprint = crops.fingerprint(teacher=self.pair.name, width=self.pair.clip.embed_dim)
            embeddings = EmbeddingCache(settings.embeddings, fingerprint=fingerprint)
        plan = _plan(settings, batches_per_step=self.batches_per_step, seed=seed)
        return ShardBatches(found, plan, seed=seed, embeddings=embeddings)

    def _validation_pictures(self) -> Dataset[Any]:
        settings = self.settings.pictures
        if not isinstance(settings, Shards):
            self.classes = [noun.name for noun in self.stage.composed.nouns]
            return self.stage.composed.pictures(settings, seed=VALIDATION_SEED)
        if settings.zero_shot is not None:
            resolution = max(settings.resolutions)
            batch = max(1, settings.pixels_per_batch // resolution**2)
            labelled = LabelledPictures(settings.zero_shot, resolution=resolution, batch=batch)
            self.classes = labelled.classes
            return labelled
        found = ShardPictures(settings, split="validation", on_progress=self.stage.tell)
        plan = _plan(settings, batches_per_step=1, seed=VALIDATION_SEED)
        return ShardBatches(found, plan, seed=VALIDATION_SEED)

    def _steps_of_epochs(self, pictures: Dataset[Any]) -> int:
        if not isinstance(pictures, ShardBatches):
            raise TrainingError("only shards have epochs: give optimisation.steps")
        per_step = float(pictures.plan.counts.mean()) * self.batches_per_step
        return math.ceil(self.settings.optimisation.epochs * len(pictures.pictures) / per_step)


def _plan(settings: Shards, *, batches_per_step: int, seed: int) -> Multiscale:
    return Multiscale(
        settings.resolutions,
        pixels_per_batch=settings.pixels_per_batch,
        indices_per_step=batches_per_step,
        seed=seed,
    )
