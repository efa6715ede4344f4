from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch

from tests.refusals import refused
from tests.training.equal_batches import check_reproducible, equal
from tests.training.shard_files import held_out, open_shards, shown, write_shard
from training.batches import batches
from training.errors import TrainingError
from training.real.multiscale import Multiscale
from training.real.records import KINDS
from training.real.shards import ShardBatches

BUDGET = 4 * 32**2  # four images at 32 px, one at 64 px


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sources of 60 and 90 images, none of them for validation."""
    folder = tmp_path_factory.mktemp("shards")
    assert not held_out(range(60)) | held_out(range(100, 177))
    for shard in range(6):
        write_shard(folder / "one" / f"{shard:05}.tar", range(10 * shard, 10 * shard + 10))
    write_shard(folder / "one" / "00003_empty.tar", range(0))
    for shard in range(7):
        write_shard(folder / "two" / f"{shard:05}.tar", range(100 + 11 * shard, 111 + 11 * shard))
    return folder


def open_batches(
    folder: Path, *sources: tuple[str, float], seed: int = 0, step: int = 1
) -> ShardBatches:
    images = open_shards(folder, *((f"{name}/*.tar", weight) for name, weight in sources))
    plan = Multiscale((32, 64), pixels_per_batch=BUDGET, indices_per_step=step, seed=seed)
    return ShardBatches(images, plan, seed=seed)


def test_each_epoch_sees_every_image_once(folder: Path) -> None:
    dataset = open_batches(folder, ("one", 1))
    seen: list[int] = []
    index = 0
    while len(seen) < 180:
        seen += shown(dataset[index]["images"])
        index += 1
    epochs = [seen[:60], seen[60:120], seen[120:180]]
    for epoch in epochs:
        assert sorted(epoch) == list(range(60))
    assert epochs[0] != epochs[1] != epochs[2]


def test_a_batch_depends_on_seed_and_index_only(folder: Path) -> None:
    check_reproducible(
        lambda seed: open_batches(folder, ("one", 1), ("two", 2), seed=seed), index=5
    )


def test_two_processes_see_what_one_sees(folder: Path) -> None:
    """Each of them with two workers, and of each step the same resolution."""
    one = [open_batches(folder, ("one", 1), ("two", 2), step=2)[index] for index in range(12)]
    for rank in range(2):
        dataset = open_batches(folder, ("one", 1), ("two", 2), step=2)
        for index, batch in zip(
            range(rank, 12, 2), batches(dataset, range(rank, 12, 2), workers=2), strict=True
        ):
            assert equal(batch, one[index])
    sides = [batch["images"].shape[-1] for batch in one]
    assert sides[::2] == sides[1::2]


def test_broken_images_are_counted_and_replaced(tmp_path: Path) -> None:
    damaged = frozenset({3, 4, 11})
    write_shard(tmp_path / "00000.tar", range(10), damaged=damaged)
    write_shard(tmp_path / "00001.tar", range(10, 20), damaged=damaged)
    path = tmp_path / "00002.tar"
    write_shard(path, range(20, 30))
    path.write_bytes(path.read_bytes()[:4_700])  # two images are whole
    images = open_shards(tmp_path)
    assert images.index.faults["truncated"] == 1
    assert len(images) == 22
    plan = Multiscale((16,), pixels_per_batch=2 * 16**2, seed=0)
    dataset = ShardBatches(images, plan, seed=0)
    epoch = [dataset[index] for index in range(11)]
    assert all(len(batch["images"]) == 2 for batch in epoch)
    seen = {number for batch in epoch for number in shown(batch["images"])}
    assert seen == set(range(22)) - damaged
    counts = torch.stack([batch["broken"] for batch in epoch]).sum(dim=0).tolist()
    broken = dict(zip(KINDS, counts, strict=True))
    assert broken.pop("image") >= 3
    assert not any(broken.values())
    again = ShardBatches(images, plan, seed=0)
    assert all(equal(again[index], batch) for index, batch in enumerate(epoch))


def test_sources_that_do_not_fit(folder: Path, tmp_path: Path) -> None:
    write_shard(tmp_path / "one" / "00000.tar", range(5))
    write_shard(tmp_path / "none" / "00000.tar", range(0))
    missing = partial(open_batches, folder, ("one", 1), ("three", 1))
    refused(missing, TrainingError, "no shard matches", "three/*.tar")
    empty = partial(open_batches, tmp_path, ("one", 1), ("none", 1))
    refused(empty, TrainingError, "no image for train", "none/*.tar")
