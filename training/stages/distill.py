"""The paper's three stages: what they train, on what data, and the checkpoint that they write."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator
from torch.utils.data import Dataset

from samclip_sdk.modeling.build import SamClipModel
from samclip_sdk.modeling.checkpoint import load_checkpoint, read_provenance
from samclip_sdk.modeling.config import ModelConfig
from training.batches import VALIDATION_SEED, Joined
from training.data_config import Images, Sa1b, Scenes, Shards
from training.errors import TrainingError, TrainingWarning
from training.files import check_folder, check_shards, check_trained
from training.real.embedding_cache import EmbeddingCache
from training.real.multiscale import Multiscale
from training.real.records import Split
from training.real.sa1b import Sa1bBatches, Sa1bPairs
from training.real.shards import FixedCrops, ShardBatches, ShardImages
from training.real.zero_shot import LabelledImages
from training.stage import Job, Stage, TrainedSettings, start_folder
from training.student_file import PACKAGES, embed_names, write_student
from training.tasks.distill import DistillTask, LossWeights
from training.teacher_config import FoundationTeachers, SmallTeachers, Teachers
from training.teachers.teacher_pair import Pair, check_clip, check_sam, open_pair

_TEACHERS = "teachers"


class DistillConfig(TrainedSettings):
    """One of the paper's three stages.

    Args:
        teachers: the CLIP and the SAM that the student imitates.
        images: D_CLIP.
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
    images: Annotated[Images | Shards, Field(discriminator="source")]
    scenes: Annotated[Scenes | Sa1b, Field(discriminator="source")] | None = None
    grad_checkpointing: bool = False
    sam_weight: float = Field(default=10.0, ge=0)
    region_weight: float = Field(default=0.0, ge=0)
    dense_weight: float = Field(default=0.0, ge=0)
    starts_from: str

    @model_validator(mode="after")
    def _check(self) -> DistillConfig:
        if isinstance(self.teachers, FoundationTeachers) and not isinstance(self.images, Shards):
            raise ValueError(
                "teachers of the kind foundation need images of the source shards: they would "
                "embed the padding of others, too"
            )
        if self.scenes is None and self.weights.need_scenes:
            raise ValueError(
                "sam_weight and region_weight need scenes: give some, or set both to 0"
            )
        regions = isinstance(self.scenes, Scenes) and self.scenes.random_regions
        if self.region_weight and not regions:
            raise ValueError("region_weight needs scenes with random_regions, which sa1b has not")
        if self.dense_weight and not self.region_weight:
            raise ValueError("dense_weight needs region_weight, too")
        return self

    @property
    def weights(self) -> LossWeights:
        """The losses' weights."""
        return LossWeights(self.sam_weight, self.region_weight, self.dense_weight)

    @property
    def images_in_batch(self) -> int:
        """The number of images in a batch at the lowest resolution."""
        return self.images.batch

    def check(self, *, runs: Path) -> None:
        """Looks for teachers, start and data; raises TrainingError if one is missing."""
        check_clip(self.teachers, runs=runs)
        if self.starts_from == _TEACHERS or self.weights.need_scenes:
            check_sam(self.teachers, runs=runs)
        if self.starts_from != _TEACHERS:
            check_trained(start_folder(self.starts_from, runs=runs))
        if isinstance(self.images, Shards):
            check_shards(self.images)
        if isinstance(self.scenes, Sa1b):
            check_folder(self.scenes.folder, setting="scenes.folder")

    def prepare(self, stage: Stage) -> Job:
        """Builds the student, its teachers and its data."""
        pair = open_pair(self.teachers, stage.model, runs=stage.runs)
        seed = self.optimisation.seed + 1  # another one than the teachers' own
        images = self._images(stage, pair, seed=seed)
        steps = self.optimisation.steps or self._steps_of_epochs(images)
        train = self._join(stage, images, seed=seed, split="train")
        validation, classes = None, None
        if self.optimisation.validation is not None:
            held_out, classes = self._validation_images(stage)
            validation = self._join(stage, held_out, seed=VALIDATION_SEED, split="validation")
        start = start_folder(self.starts_from, runs=stage.runs)
        new = self.starts_from == _TEACHERS
        if new:
            student = pair.stage0(seed=self.optimisation.seed)
        else:
            student = _load_student(start, stage.model)
        student.image_encoder.set_grad_checkpointing(self.grad_checkpointing)
        # Read now, before somebody trains the earlier stage anew.
        provenance = self.provenance(stage, PACKAGES)
        provenance["starts_from"] = pair.provenance() if new else read_provenance(start)
        if stage.clip is not None:
            provenance["nouns"] = stage.clip.nouns
        if licences := pair.licences():
            provenance["licences"] = licences
        task = DistillTask(
            student,
            train,
            clip=pair.clip,
            sam=pair.sam if self.weights.need_scenes else None,
            weights=self.weights,
            validation=validation,
            classes=None if classes is None else embed_names(student, classes, folder=start),
        )
        return Job(
            task,
            self.optimisation.model_copy(update={"steps": steps}),
            lambda: write_student(student, stage.run, start=start, provenance=provenance),
        )

    def _join(self, stage: Stage, images: Dataset[Any], *, seed: int, split: Split) -> Dataset[Any]:
        """Returns batches of the images and of the scenes, if there are any."""
        datasets, scenes = {"images": images}, self.scenes
        if isinstance(scenes, Sa1b):
            pairs = Sa1bPairs(scenes.folder, split=split)
            if pairs.unpaired and split == "train":
                _warn(stage, f"{scenes.folder}: {pairs.unpaired} files without their pair")
            datasets["scenes"] = Sa1bBatches(
                pairs,
                resolution=scenes.resolution,
                batch=scenes.batch,
                prompts=scenes.prompts,
                seed=seed,
            )
        elif scenes is not None:
            datasets["scenes"] = stage.composed.scenes(scenes, seed=seed)
        return Joined(datasets)

    def _images(self, stage: Stage, pair: Pair, *, seed: int) -> Dataset[Any]:
        settings = self.images
        if not isinstance(settings, Shards):
            return stage.composed.images(settings, seed=seed)
        found = ShardImages(settings, split="train", on_progress=stage.tell)
        for kind, count in found.index.faults.items():
            if count:
                _warn(stage, f"shards: {count} {kind}")
        embeddings = None
        if settings.embeddings is not None:
            crops = FixedCrops(found, resolution=pair.clip.resolution, batch=1, seed=seed)
            fingerprint = crops.fingerprint(teacher=pair.name, width=pair.clip.embed_dim)
            embeddings = EmbeddingCache(settings.embeddings, fingerprint=fingerprint)
        in_step = stage.fabric.world_size * self.batches_in_step(stage.fabric.world_size)
        plan = _plan(settings, batches_per_step=in_step, seed=seed)
        return ShardBatches(found, plan, seed=seed, embeddings=embeddings)

    def _validation_images(self, stage: Stage) -> tuple[Dataset[Any], Sequence[str] | None]:
        """Returns images that are never trained on, and the names of their `nouns`, if any."""
        settings = self.images
        if not isinstance(settings, Shards):
            held_out = stage.composed.images(settings, seed=VALIDATION_SEED)
            return held_out, [noun.name for noun in stage.composed.nouns]
        if settings.zero_shot is not None:
            resolution = max(settings.resolutions)
            batch = settings.size(resolution)
            labelled = LabelledImages(settings.zero_shot, resolution=resolution, batch=batch)
            return labelled, labelled.classes
        found = ShardImages(settings, split="validation", on_progress=stage.tell)
        plan = _plan(settings, batches_per_step=1, seed=VALIDATION_SEED)
        return ShardBatches(found, plan, seed=VALIDATION_SEED), None

    def _steps_of_epochs(self, images: Dataset[Any]) -> int:
        if not isinstance(images, ShardBatches):
            raise TrainingError("only shards have epochs: give optimisation.steps")
        per_step = float(images.plan.counts.mean()) * images.plan.indices_per_step
        return math.ceil(self.optimisation.epochs * len(images.images) / per_step)


def _load_student(folder: Path, model: ModelConfig) -> SamClipModel:
    student = load_checkpoint(folder)
    if student.config != model:
        raise TrainingError(
            f"{folder} is of another model than {model.name}: its config.json differs "
            "from the preset"
        )
    return student


def _warn(stage: Stage, fault: str) -> None:
    """Tells once what is wrong with files. Broken records are counted later, as they are read."""
    if stage.fabric.is_global_zero:
        warnings.warn(fault, TrainingWarning, stacklevel=2)


def _plan(settings: Shards, *, batches_per_step: int, seed: int) -> Multiscale:
    return Multiscale(
        settings.resolutions,
        pixels_per_batch=settings.pixels_per_batch,
        indices_per_step=batches_per_step,
        seed=seed,
    )
