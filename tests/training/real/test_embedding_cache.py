from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor

from tests.training.shard_files import open_shards, shown, write_shard
from training.errors import TrainingError
from training.loop.train import build_fabric
from training.real import crops, embedding_cache
from training.real.embedding_cache import EmbeddingCache, EmbeddingWriter, fill_cache
from training.real.multiscale import Multiscale
from training.real.records import KINDS
from training.real.shards import FixedCrops, ShardBatches, ShardPictures

SAMPLES, WIDTH = 21, 6
DAMAGED = frozenset({5, 13})


class ColourTeacher:
    """Embeds a picture's mean colour; fails after `calls` batches."""

    resolution = 16

    def __init__(self, *, calls: int = 100) -> None:
        self.calls = calls
        self.pictures = 0

    def embed_images(self, images: Tensor) -> Tensor:
        if not self.calls:
            raise KeyboardInterrupt
        self.calls -= 1
        self.pictures += len(images)
        return images.float().mean(dim=(2, 3)).repeat(1, 2) / 256


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> ShardPictures:
    folder = tmp_path_factory.mktemp("shards")
    write_shard(folder / "00000.tar", range(9), damaged=DAMAGED)
    write_shard(folder / "00001.tar", range(9, SAMPLES), damaged=DAMAGED)
    return open_shards(folder)


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding_cache, "_BLOCK", 4)


def crops_of(pictures: ShardPictures, *, seed: int = 3) -> FixedCrops:
    return FixedCrops(pictures, resolution=16, batch=2, seed=seed)


def fill(
    folder: Path, fixed: FixedCrops, teacher: ColourTeacher, *, fabric: Fabric | None = None
) -> dict[str, str | int | list[float]]:
    fingerprint = fixed.fingerprint(teacher="colours", width=WIDTH)
    fill_cache(
        folder,
        fixed,
        teacher,
        fingerprint=fingerprint,
        batch=fixed.batch,
        workers=0,
        fabric=fabric or Fabric(accelerator="cpu", devices=1),
    )
    return fingerprint


def test_the_teacher_runs_in_the_precision_asked_for(
    tmp_path: Path, pictures: ShardPictures
) -> None:
    class Linear(ColourTeacher):
        def embed_images(self, images: Tensor) -> Tensor:
            colours = super().embed_images(images)
            seen.add((colours @ torch.eye(WIDTH)).dtype)
            return colours

    for precision, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        seen: set[torch.dtype] = set()
        fabric = build_fabric(precision, accelerator="cpu")
        fill(tmp_path / precision, crops_of(pictures), Linear(), fabric=fabric)
        assert seen == {dtype}


def test_embeddings_come_back(tmp_path: Path, pictures: ShardPictures) -> None:
    fingerprint = fill(tmp_path / "cache", crops_of(pictures), ColourTeacher())
    cache = EmbeddingCache(tmp_path / "cache", fingerprint=fingerprint)
    for sample in range(SAMPLES):
        embedding = cache[sample]
        assert embedding.dtype == np.float16
        if sample in DAMAGED:
            assert np.isnan(embedding).all()
        else:
            expected = np.array([0, sample, 77] * 2) / 256
            np.testing.assert_allclose(embedding, expected, rtol=1e-3)
    assert {path.name for path in tmp_path.iterdir()} == {"cache"}
    assert {path.name for path in (tmp_path / "cache").iterdir()} == {
        "embeddings.npy",
        "fingerprint.json",
    }


def test_batches_carry_the_embeddings_of_their_crops(
    tmp_path: Path, pictures: ShardPictures
) -> None:
    fingerprint = fill(tmp_path / "cache", crops_of(pictures), ColourTeacher())
    cache = EmbeddingCache(tmp_path / "cache", fingerprint=fingerprint)
    plan = Multiscale((16, 32), pixels_per_batch=4 * 32**2, seed=0)
    dataset = ShardBatches(pictures, plan, seed=0, embeddings=cache)
    broken = 0
    for index in range(6):
        batch = dataset[index]
        assert batch["teacher_embeddings"].dtype == torch.float16
        expected = ColourTeacher().embed_images(batch["images"]).half()
        assert torch.equal(batch["teacher_embeddings"], expected)
        counts = dict(zip(KINDS, batch["broken"].tolist(), strict=True))
        broken += counts["embedding"]
        assert counts["picture"] == 0, "a picture without an embedding is not read"
    assert broken >= 2


def test_crops_are_the_same_in_every_epoch_and_at_every_resolution(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pictures: ShardPictures
) -> None:
    fingerprint = fill(tmp_path / "cache", crops_of(pictures), ColourTeacher())
    cache = EmbeddingCache(tmp_path / "cache", fingerprint=fingerprint)
    boxes: dict[int, set[tuple[int, ...]]] = {}
    drawn = training_crop_boxes(monkeypatch)
    plan = Multiscale((16, 32), pixels_per_batch=32**2, seed=0)
    dataset = ShardBatches(pictures, plan, seed=8, embeddings=cache)
    for index in range(60):
        drawn.clear()
        numbers = shown(dataset[index]["images"])
        for number, box in zip(numbers, drawn, strict=True):
            boxes.setdefault(number, set()).add(box)
    assert len(boxes) == SAMPLES - len(DAMAGED)
    assert {len(each) for each in boxes.values()} == {1}


def training_crop_boxes(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    drawn: list[tuple[int, ...]] = []
    draw = crops.random_crop_box

    def noted(height_px: int, width_px: int, *, rng: np.random.Generator) -> tuple[int, ...]:
        drawn.append(draw(height_px, width_px, rng=rng))
        return drawn[-1]

    monkeypatch.setattr(crops, "random_crop_box", noted)
    return drawn


def test_a_stopped_cache_goes_on(tmp_path: Path, pictures: ShardPictures) -> None:
    with pytest.raises(KeyboardInterrupt):
        fill(
            tmp_path / "cache", crops_of(pictures), ColourTeacher(calls=5)
        )  # two blocks and a half
    assert [path.name for path in tmp_path.iterdir()] == ["cache.partial"]
    teacher = ColourTeacher()
    fingerprint = fill(tmp_path / "cache", crops_of(pictures), teacher)
    assert teacher.pictures == SAMPLES - 8
    fill(tmp_path / "whole", crops_of(pictures), ColourTeacher())
    one, other = (EmbeddingCache(tmp_path / x, fingerprint=fingerprint) for x in ("cache", "whole"))
    np.testing.assert_array_equal(one.embeddings, other.embeddings)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"seed": 4}, "seed is 3, not 4"),
        ({"samples": 22, "teacher": "ViT"}, "21, not 22; teacher is 'colours', not 'ViT'"),
    ],
)
def test_what_differs_is_said(
    tmp_path: Path, pictures: ShardPictures, changes: dict[str, object], told: str
) -> None:
    folder = tmp_path / "cache"
    fingerprint = fill(folder, crops_of(pictures), ColourTeacher())
    with pytest.raises(TrainingError, match=told):
        EmbeddingCache(folder, fingerprint=fingerprint | changes)
    with pytest.raises(TrainingError, match="other"):
        EmbeddingCache(tmp_path / "other", fingerprint=fingerprint)
    with pytest.raises(TrainingError, match="'many'"):
        EmbeddingWriter(tmp_path / "other", fingerprint=fingerprint | {"samples": "many"})
    with pytest.raises(TrainingError, match="written once"):
        fill(folder, crops_of(pictures), ColourTeacher())


def test_a_file_of_another_size_is_refused(tmp_path: Path, pictures: ShardPictures) -> None:
    folder = tmp_path / "cache"
    fingerprint = fill(folder, crops_of(pictures), ColourTeacher())
    path = folder / "embeddings.npy"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(TrainingError, match=r"embeddings\.npy"):
        EmbeddingCache(folder, fingerprint=fingerprint)
    np.save(path, np.zeros((SAMPLES, WIDTH + 1), np.float16))
    with pytest.raises(TrainingError, match=r"\[21, 7\]"):
        EmbeddingCache(folder, fingerprint=fingerprint)


def test_a_beginning_of_something_else_is_refused(tmp_path: Path, pictures: ShardPictures) -> None:
    with pytest.raises(KeyboardInterrupt):
        fill(tmp_path / "cache", crops_of(pictures), ColourTeacher(calls=3))
    with pytest.raises(TrainingError, match="seed is 3, not 5"):
        fill(tmp_path / "cache", crops_of(pictures, seed=5), ColourTeacher())


def test_a_cache_with_holes_gets_no_name(tmp_path: Path, pictures: ShardPictures) -> None:
    fingerprint = crops_of(pictures).fingerprint(teacher="colours", width=WIDTH)
    writer = EmbeddingWriter(tmp_path / "cache", fingerprint=fingerprint)
    writer.write(1, np.zeros((4, WIDTH)))
    with pytest.raises(TrainingError, match="5 of 6 blocks"):
        writer.finish()
    assert not (tmp_path / "cache").exists()


def test_embeddings_of_other_pictures_are_refused(tmp_path: Path, pictures: ShardPictures) -> None:
    fingerprint = fill(tmp_path / "cache", crops_of(pictures), ColourTeacher())
    cache = EmbeddingCache(tmp_path / "cache", fingerprint=fingerprint)
    write_shard(tmp_path / "00000.tar", range(4))
    others = open_shards(tmp_path)
    plan = Multiscale((16,), pixels_per_batch=16**2, seed=0)
    with pytest.raises(TrainingError, match="the embeddings' shards is"):
        ShardBatches(others, plan, seed=0, embeddings=cache)


def test_a_pickled_cache_is_its_name(tmp_path: Path, pictures: ShardPictures) -> None:
    fingerprint = fill(tmp_path / "cache", crops_of(pictures), ColourTeacher())
    cache = EmbeddingCache(tmp_path / "cache", fingerprint=fingerprint)
    copy = pickle.loads(pickle.dumps(cache))
    assert isinstance(copy.embeddings, np.memmap)
    np.testing.assert_array_equal(copy.embeddings, cache.embeddings)


def test_a_batch_must_divide_a_block(tmp_path: Path, pictures: ShardPictures) -> None:
    of_three = FixedCrops(pictures, resolution=16, batch=3, seed=0)
    with pytest.raises(TrainingError, match="a batch is 3; it must divide 4"):
        fill(tmp_path / "cache", of_three, ColourTeacher())
    assert not list(tmp_path.iterdir())


def test_the_fingerprint_can_be_read(tmp_path: Path, pictures: ShardPictures) -> None:
    fingerprint = fill(tmp_path / "cache", crops_of(pictures), ColourTeacher())
    text = (tmp_path / "cache" / "fingerprint.json").read_text(encoding="utf-8")
    assert json.loads(text) == fingerprint
    assert fingerprint["crop_scale"] == [0.9, 1.0]
