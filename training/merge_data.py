"""The data of a merge, by its settings: composed pictures and scenes, or real data sets."""

from __future__ import annotations

import math
from typing import Any

from torch.utils.data import Dataset

from samclip_sdk.system.progress import OnProgress, no_progress
from training.batches import Joined
from training.config import DistillConfig, EmbeddingsConfig
from training.data_config import CaptionedPictures, Pictures, Sa1b, Shards
from training.errors import TrainingError
from training.real.embedding_cache import EmbeddingCache
from training.real.multiscale import Multiscale
from training.real.records import Split
from training.real.sa1b import Sa1bBatches, Sa1bPairs
from training.real.shards import FixedCrops, ShardBatches, ShardPictures, Source
from training.real.zero_shot import LabelledPictures
from training.sources import VALIDATION_SEED, Composed, batches_of
from training.step_size import batches_in_step
from training.teachers.teacher_pair import Pair


class MergeData:
    """What one stage of a merge trains on, and what it is validated on.

    Args:
        settings: of the stage.
        composed: where composed data comes from.
        pair: the teachers, whose embeddings the pictures may bring along.
        processes: that share a step.
        on_progress: told how many shards are scanned.

    Attributes:
        train: batches by index, with `pictures` and perhaps `scenes`.
        validation: likewise, never trained on; None where the stage has no validation.
        classes: names that `nouns` of validation pictures stand for; None where they have none.
        steps: of the whole training.
        faults: what was wrong with the files, a line each; broken records are counted as they
            are met.

    Raises:
        TrainingError: data that is not there, embeddings of something else, or epochs of data
            that is drawn without end.
    """

    def __init__(
        self,
        settings: DistillConfig,
        *,
        composed: Composed,
        pair: Pair,
        processes: int,
        on_progress: OnProgress = no_progress,
    ) -> None:
        self.settings = settings
        self.composed = composed
        self.pair = pair
        self.on_progress = on_progress
        self.batches_per_step = processes * batches_in_step(settings, processes=processes)
        self.classes: list[str] | None = None
        self.faults: list[str] = []
        seed = settings.optimisation.seed + 1  # apart from the teachers' own training
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
        datasets = {"pictures": pictures}
        scenes = self.settings.scenes
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
            datasets["scenes"] = batches_of(scenes, composed=self.composed, split=split, seed=seed)
        return Joined(datasets)

    def _pictures(self, seed: int) -> Dataset[Any]:
        settings = self.settings.pictures
        if not isinstance(settings, Shards):
            return batches_of(settings, composed=self.composed, split="train", seed=seed)
        found = shard_pictures(settings, split="train", on_progress=self.on_progress)
        self.faults += [f"shards: {n} {kind}" for kind, n in found.index.faults.items() if n]
        embeddings = None
        if settings.embeddings is not None:
            crops = FixedCrops(found, resolution=self.pair.clip.resolution, batch=1, seed=seed)
            fingerprint = crops.fingerprint(teacher=self.pair.name, width=self.pair.clip.embed_dim)
            embeddings = EmbeddingCache(settings.embeddings, fingerprint=fingerprint)
        return ShardBatches(
            found,
            self._plan(settings, batches_per_step=self.batches_per_step, seed=seed),
            seed=seed,
            embeddings=embeddings,
        )

    def _validation_pictures(self) -> Dataset[Any]:
        settings = self.settings.pictures
        if isinstance(settings, Pictures):
            self.classes = [noun.name for noun in self.composed.nouns]
        if not isinstance(settings, Shards):
            return batches_of(
                settings, composed=self.composed, split="validation", seed=VALIDATION_SEED
            )
        if settings.zero_shot is not None:
            resolution = max(settings.resolutions)
            batch = max(1, settings.pixels_per_batch // resolution**2)
            labelled = LabelledPictures(settings.zero_shot, resolution=resolution, batch=batch)
            self.classes = labelled.classes
            return labelled
        found = shard_pictures(settings, split="validation", on_progress=self.on_progress)
        plan = self._plan(settings, batches_per_step=1, seed=VALIDATION_SEED)
        return ShardBatches(found, plan, seed=VALIDATION_SEED)

    def _plan(self, settings: Shards, *, batches_per_step: int, seed: int) -> Multiscale:
        return Multiscale(
            settings.resolutions,
            pixels_per_batch=settings.pixels_per_batch,
            indices_per_step=batches_per_step,
            seed=seed,
        )

    def _steps_of_epochs(self, pictures: Dataset[Any]) -> int:
        if not isinstance(pictures, ShardBatches):
            raise TrainingError("only shards have epochs: give optimisation.steps")
        per_step = float(pictures.plan.counts.mean()) * self.batches_per_step
        return math.ceil(self.settings.optimisation.epochs * len(pictures.pictures) / per_step)


def shard_pictures(
    settings: Shards | CaptionedPictures, *, split: Split, on_progress: OnProgress
) -> ShardPictures:
    """Opens the shards of one side of the split; those that are new are scanned."""
    sources = [Source(each.shards, weight=each.weight) for each in settings.sources]
    return ShardPictures(sources, cache=settings.index, split=split, on_progress=on_progress)


def crops_to_embed(
    settings: EmbeddingsConfig, *, pair: Pair, on_progress: OnProgress
) -> FixedCrops:
    """The crops that `settings` embeds: those that a stage of the same seed trains on."""
    return FixedCrops(
        shard_pictures(settings.pictures, split="train", on_progress=on_progress),
        resolution=pair.clip.resolution,
        batch=settings.batch,
        seed=settings.seed + 1,
    )
