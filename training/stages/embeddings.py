"""The stage that computes the CLIP teacher's embeddings of all images once."""

from __future__ import annotations

import time
from itertools import islice
from pathlib import Path
from typing import Literal

from pydantic import Field

from training.batches import batches
from training.data_config import Shards
from training.files import check_shards
from training.loop.pace import Pace, peak_bytes
from training.loop_config import Precision
from training.real.embedding_cache import embed_batch, fill_cache
from training.real.shards import FixedCrops, ShardImages
from training.stage import Stage, StageSettings
from training.teacher_config import Teachers
from training.teachers.teacher_pair import Pair, check_clip, open_pair


class EmbeddingsConfig(StageSettings):
    """Embeds one crop of every image with the CLIP teacher, once, into `folder`."""

    one_machine = True

    task: Literal["embeddings"]
    teachers: Teachers
    images: Shards
    folder: Path
    batch: int = Field(gt=0)
    precision: Precision = "bf16"
    workers: int = Field(default=8, ge=0)
    seed: int = 0

    @property
    def computes_in(self) -> Precision:
        """The precision of the computation."""
        return self.precision

    def check(self, *, runs: Path) -> None:
        """Looks for the CLIP teacher and the shards; raises TrainingError if one is missing."""
        check_clip(self.teachers, runs=runs)
        check_shards(self.images)

    def run(self, stage: Stage) -> Path:
        """Writes all embeddings, or the rest of them, into the cache."""
        pair, crops = self._open(stage)
        fill_cache(
            self.folder,
            crops,
            pair.clip,
            fingerprint=crops.fingerprint(teacher=pair.name, width=pair.clip.embed_dim),
            batch=self.batch,
            workers=self.workers,
            fabric=stage.fabric,
            on_progress=stage.on_progress,
        )
        return self.folder

    def smoke(self, stage: Stage, *, steps: int) -> Pace:
        """Embeds a few batches, writes nothing, and measures how long the stage will take."""
        pair, crops = self._open(stage)
        count = min(steps, len(crops))
        source = batches(crops, range(len(crops)), workers=self.workers)
        with stage.fabric.autocast():
            embed_batch(pair.clip, stage.fabric.to_device(crops[0]))  # the first one is slower
            began = time.monotonic()
            for batch in islice(source, count):
                embed_batch(pair.clip, stage.fabric.to_device(batch))
        seconds = time.monotonic() - began
        images = min(count * self.batch, len(crops.images))
        rate = stage.fabric.world_size * images / seconds
        return Pace(
            whole=f"{len(crops.images):,} images",
            images_per_s=rate,
            peak_bytes=peak_bytes(stage.fabric),
            hours=len(crops.images) / rate / 3600,
        )

    def _open(self, stage: Stage) -> tuple[Pair, FixedCrops]:
        """Returns the teachers, and the crops that a stage of the same seed trains on."""
        pair = open_pair(self.teachers, stage.model, runs=stage.runs)
        stage.fabric.to_device(pair.clip)
        found = ShardImages(self.images, split="train", on_progress=stage.tell)
        resolution = pair.clip.resolution
        crops = FixedCrops(found, resolution=resolution, batch=self.batch, seed=self.seed + 1)
        return pair, crops
