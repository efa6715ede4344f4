from __future__ import annotations

import pickle
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.utils.data import Dataset

from tests.refusals import refused
from tests.training.shard_files import open_shards, shown, write_shard
from training.batches import Batch
from training.errors import TrainingError
from training.loop.train import build_fabric
from training.real import crops
from training.real.embedding_cache import EmbeddingCache, Fingerprint, fill_cache
from training.real.multiscale import Multiscale
from training.real.records import KINDS
from training.real.shards import FixedCrops, ShardBatches, ShardImages

SAMPLES, WIDTH = 21, 6
DAMAGED = frozenset({5, 13})


class ColourTeacher:
    """Embeds an image's mean colour."""

    resolution = 16
    computed_in: torch.dtype

    def embed_images(self, images: Tensor) -> Tensor:
        colours = images.float().mean(dim=(2, 3)).repeat(1, 2) / 256
        self.computed_in = (colours @ torch.eye(WIDTH)).dtype
        return colours


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> ShardImages:
    folder = tmp_path_factory.mktemp("shards")
    write_shard(folder / "00000.tar", range(9), damaged=DAMAGED)
    write_shard(folder / "00001.tar", range(9, SAMPLES), damaged=DAMAGED)
    return open_shards(folder)


def fill(
    folder: Path,
    images: ShardImages,
    *,
    teacher: ColourTeacher | None = None,
    fabric: Fabric | None = None,
) -> Fingerprint:
    fixed = FixedCrops(images, resolution=16, batch=2, seed=3)
    fingerprint = fixed.fingerprint(teacher="colours", width=WIDTH)
    fill_cache(
        folder,
        fixed,
        teacher or ColourTeacher(),
        fingerprint=fingerprint,
        batch=fixed.batch,
        workers=0,
        fabric=fabric or Fabric(accelerator="cpu", devices=1),
    )
    return fingerprint


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory, images: ShardImages) -> EmbeddingCache:
    folder = tmp_path_factory.mktemp("embeddings") / "cache"
    return EmbeddingCache(folder, fingerprint=fill(folder, images))


def test_the_teacher_runs_in_the_precision_asked_for(tmp_path: Path, images: ShardImages) -> None:
    for precision, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        teacher, fabric = ColourTeacher(), build_fabric(precision, accelerator="cpu")
        fill(tmp_path / precision, images, teacher=teacher, fabric=fabric)
        assert teacher.computed_in == dtype


def test_embeddings_come_back(cache: EmbeddingCache) -> None:
    for sample in range(SAMPLES):
        embedding = cache[sample]
        assert embedding.dtype == np.float16
        if sample in DAMAGED:
            assert np.isnan(embedding).all()
        else:
            expected = np.array([0, sample, 77] * 2) / 256
            np.testing.assert_allclose(embedding, expected, rtol=1e-3)
    assert {path.name for path in cache.folder.parent.iterdir()} == {"cache"}
    names = {path.name for path in cache.folder.iterdir()}
    assert names == {"embeddings.npy", "fingerprint.json"}
    copy = pickle.loads(pickle.dumps(cache))
    assert isinstance(copy.embeddings, np.memmap), "a worker opens the file, and is not sent it"
    np.testing.assert_array_equal(copy.embeddings, cache.embeddings)


def test_batches_carry_the_embeddings_of_their_crops(
    images: ShardImages, cache: EmbeddingCache
) -> None:
    plan = Multiscale((16, 32), pixels_per_batch=4 * 32**2, seed=0)
    dataset = ShardBatches(images, plan, seed=0, embeddings=cache)
    broken = 0
    for index in range(6):
        batch = dataset[index]
        assert batch["teacher_embeddings"].dtype == torch.float16
        expected = ColourTeacher().embed_images(batch["images"]).half()
        assert torch.equal(batch["teacher_embeddings"], expected)
        counts = dict(zip(KINDS, batch["broken"].tolist(), strict=True))
        broken += counts["embedding"]
        assert counts["image"] == 0, "an image without an embedding is not read"
    assert broken >= 2


def test_crops_are_the_same_in_every_epoch_and_at_every_resolution(
    monkeypatch: pytest.MonkeyPatch, images: ShardImages, cache: EmbeddingCache
) -> None:
    boxes: dict[int, set[tuple[int, ...]]] = {}
    drawn: list[tuple[int, ...]] = []
    draw = crops.random_crop_box

    def noted(height_px: int, width_px: int, *, rng: np.random.Generator) -> tuple[int, ...]:
        drawn.append(draw(height_px, width_px, rng=rng))
        return drawn[-1]

    monkeypatch.setattr(crops, "random_crop_box", noted)
    plan = Multiscale((16, 32), pixels_per_batch=32**2, seed=0)
    dataset = ShardBatches(images, plan, seed=8, embeddings=cache)
    for index in range(60):
        drawn.clear()
        numbers = shown(dataset[index]["images"])
        for number, box in zip(numbers, drawn, strict=True):
            boxes.setdefault(number, set()).add(box)
    assert len(boxes) == SAMPLES - len(DAMAGED)
    assert {len(each) for each in boxes.values()} == {1}


def test_a_stopped_cache_goes_on(tmp_path: Path) -> None:
    """Of three blocks of 4,096 the first was written; the others are asked for again."""
    count = 2 * 4096 + 8
    fingerprint: Fingerprint = {"samples": count, "width": WIDTH, "seed": 0}
    rows = np.arange(count, dtype=np.float16)[:, None].repeat(WIDTH, axis=1) / count
    asked: list[int] = []

    class Crops(Dataset[Batch]):
        def __getitem__(self, index: int) -> Batch:
            if len(asked) == 520:
                asked.clear()
                raise KeyboardInterrupt
            asked.append(index)
            images = torch.from_numpy(rows[8 * index : 8 * index + 8, :3, None, None] * 256)
            return {"images": images, "readable": torch.ones(len(images), dtype=torch.bool)}

    fill = partial(
        fill_cache,
        tmp_path / "cache",
        Crops(),
        ColourTeacher(),
        fingerprint=fingerprint,
        batch=8,
        workers=0,
        fabric=Fabric(accelerator="cpu", devices=1),
    )
    with pytest.raises(KeyboardInterrupt):
        fill()
    assert [path.name for path in tmp_path.iterdir()] == ["cache.partial"]
    fill()
    assert asked == [*range(512, 1025)]
    found = EmbeddingCache(tmp_path / "cache", fingerprint=fingerprint)
    np.testing.assert_allclose(found.embeddings, rows, atol=1e-3)


def test_what_is_no_such_cache_is_refused(
    tmp_path: Path, images: ShardImages, cache: EmbeddingCache
) -> None:
    """It differs, is not there, is there already, or is too short."""
    own, other = cache.fingerprint, tmp_path / "other"
    samples = own | {"samples": 22, "teacher": "ViT"}
    seeded = own | {"seed": 4}
    refused(
        lambda: EmbeddingCache(cache.folder, fingerprint=seeded), TrainingError, "seed is 3, not 4"
    )
    told = "21, not 22; teacher is 'colours', not 'ViT'"
    refused(lambda: EmbeddingCache(cache.folder, fingerprint=samples), TrainingError, told)
    refused(lambda: EmbeddingCache(other, fingerprint=own), TrainingError, other)
    refused(lambda: fill(cache.folder, images), TrainingError, "written once")
    shutil.copytree(cache.folder, other)
    path = other / "embeddings.npy"
    path.write_bytes(path.read_bytes()[:-10])
    refused(lambda: EmbeddingCache(other, fingerprint=own), TrainingError, path)
