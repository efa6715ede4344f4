"""D_CLIP from tar shards: batches of random crops, each from the seed and its index alone."""

from __future__ import annotations

import glob
from collections import Counter
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from samclip_sdk.system.progress import OnProgress, no_progress
from training.batches import PATCH_PX, Batch
from training.data_config import Shards
from training.errors import TrainingError
from training.real import crops
from training.real.embedding_cache import EmbeddingCache
from training.real.multiscale import Multiscale
from training.real.records import (
    BrokenRecord,
    Split,
    count_tensor,
    decode_image,
    explain_lack,
    read_or_replace,
)
from training.real.shard_index import ShardIndex
from training.real.shard_order import Mixture, ShardOrder

_CROPS_STREAM, _FIXED_CROPS_STREAM, _REPLACEMENTS_STREAM = 8, 9, 10  # apart from others of a seed


class ShardImages:
    """The images of several sources on one side of the split, numbered through.

    Args:
        settings: the data sets, and the folder for tables of their shards.
        on_progress: told how many shards are scanned.

    Attributes:
        index: where they lie; `index.faults` says what was wrong with the shards.
        ranges: the images of each source.

    Raises:
        TrainingError: a glob matches nothing, or a source has no image on this side of the split.
    """

    def __init__(
        self,
        settings: Shards,
        *,
        split: Split,
        on_progress: OnProgress = no_progress,
    ) -> None:
        self.sources = sources = settings.sources
        found = [_find_shards(source.shards) for source in sources]
        self.index = ShardIndex(
            [*chain.from_iterable(found)],
            cache=settings.index,
            split=split,
            on_progress=on_progress,
        )
        ends = np.cumsum([0, *map(len, found)])
        self.starts = [self.index.starts[first : end + 1] for first, end in pairwise(ends)]
        self.ranges = [range(int(starts[0]), int(starts[-1])) for starts in self.starts]
        for source, images in zip(sources, self.ranges, strict=True):
            if not images:
                raise TrainingError(
                    f"no image for {split} in {source.shards!r}: {explain_lack(split)}"
                )

    def __len__(self) -> int:
        return len(self.index)

    def crop(self, sample: int, rng: np.random.Generator, *, resolution: int) -> np.ndarray:
        """A random crop of an image, uint8 [3,S,S]; raises BrokenRecord if it is damaged."""
        image = decode_image(self.index.read(sample))
        return crops.random_crop(image, rng, resolution=resolution)

    def fixed_crop(self, sample: int, *, resolution: int, seed: int) -> np.ndarray:
        """The crop of an image that goes with this seed: at every resolution, in every epoch."""
        rng = np.random.default_rng([seed, _FIXED_CROPS_STREAM, sample])
        return self.crop(sample, rng, resolution=resolution)


class ShardBatches(Dataset[Batch]):
    """D_CLIP: `images` uint8 [B,3,S,S], `token_mask` float32 [B,g,g] of ones, `broken` int64.

    `broken` counts the records that were found broken, in the order of `records.KINDS`; another
    image of the same source is in the place of each. With the teacher's embeddings, crops are
    those that they are of, and `teacher_embeddings` float16 [B,E] is there too.

    Args:
        images: of which the batches are.
        plan: the resolution and size of each batch.
        seed: of everything random; with `embeddings`, crops go by theirs.
        embeddings: of the fixed crops of `images`.
    """

    def __init__(
        self,
        images: ShardImages,
        plan: Multiscale,
        *,
        seed: int,
        embeddings: EmbeddingCache | None = None,
    ) -> None:
        self.images = images
        self.plan = plan
        self.seed = seed
        self.embeddings = embeddings
        orders = [
            ShardOrder(starts, seed=seed, source=source)
            for source, starts in enumerate(images.starts)
        ]
        weights = [source.weight for source in images.sources]
        self.mixture = Mixture(orders, weights=weights, seed=seed)

    def __getitem__(self, index: int) -> Batch:
        span = self.plan.batch(index)
        broken: Counter[str] = Counter()
        read = [self._read(position, span.resolution, broken) for position in span.indices]
        grid = span.resolution // PATCH_PX
        batch = {
            "images": torch.from_numpy(np.stack([image for _, image in read])),
            "token_mask": torch.ones(len(read), grid, grid),
            "broken": count_tensor(broken),
        }
        if self.embeddings is not None:
            rows = np.stack([self.embeddings[sample] for sample, _ in read])
            batch["teacher_embeddings"] = torch.from_numpy(rows)
        return batch

    def _read(self, index: int, resolution: int, broken: Counter[str]) -> tuple[int, np.ndarray]:
        """The sample at a place, or its replacement, and the crop of it."""
        source, sample = self.mixture.sample(index)

        def crop(candidate: int) -> np.ndarray:
            if self.embeddings is None:
                rng = np.random.default_rng([self.seed, _CROPS_STREAM, index])
                return self.images.crop(candidate, rng, resolution=resolution)
            if not np.isfinite(self.embeddings[candidate]).all():
                raise BrokenRecord("embedding", f"sample {candidate} has none")
            return self.images.fixed_crop(
                candidate, resolution=resolution, seed=self.embeddings.fingerprint["seed"]
            )

        return read_or_replace(
            sample,
            crop,
            among=self.images.ranges[source],
            rng=np.random.default_rng([self.seed, _REPLACEMENTS_STREAM, index]),
            broken=broken,
        )


class FixedCrops(Dataset[Batch]):
    """Fixed crops for a teacher's embeddings, `batch` samples in an item.

    `images` uint8 [B,3,S,S]; `readable` bool [B], where not, the image is black.
    """

    def __init__(self, images: ShardImages, *, resolution: int, batch: int, seed: int) -> None:
        self.images = images
        self.resolution = resolution
        self.batch = batch
        self.seed = seed

    def __len__(self) -> int:
        return -(-len(self.images) // self.batch)

    def __getitem__(self, index: int) -> Batch:
        first = index * self.batch
        samples = range(first, min(first + self.batch, len(self.images)))
        side = self.resolution
        images = np.zeros((len(samples), 3, side, side), np.uint8)
        readable = torch.ones(len(samples), dtype=torch.bool)
        for row, sample in enumerate(samples):
            try:
                images[row] = self.images.fixed_crop(sample, resolution=side, seed=self.seed)
            except BrokenRecord:
                readable[row] = False
        return {"images": torch.from_numpy(images), "readable": readable}

    def fingerprint(self, *, teacher: str, width: int) -> dict[str, Any]:
        """Returns the fingerprint of the embeddings [N,E] of these crops by a teacher's name."""
        return {
            "teacher": teacher,
            "seed": self.seed,
            "resolution": self.resolution,
            "crop_scale": list(crops.SCALE),
            "crop_ratio": list(crops.RATIO),
            "width": width,
            "shards": self.images.index.digest(),
            "split": self.images.index.split,
            "samples": len(self.images),
        }


def _find_shards(pattern: str) -> list[Path]:
    shards = sorted(Path(match) for match in glob.glob(pattern, recursive=True))
    if not shards:
        raise TrainingError(f"no shard matches {pattern!r}")
    return shards
