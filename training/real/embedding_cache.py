"""The CLIP teacher's embeddings of fixed crops, kept on disk, so that it need not run every epoch.

A cache is a folder: `embeddings.npy`, float16 [N,E] by sample, and `fingerprint.json`, which says
what they are of. It is filled under a temporary name, block by block, by the processes of one
machine, goes on where it was stopped, and gets its own name once it is whole.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.utils.data import Dataset

from samclip_sdk.system.progress import OnProgress, no_progress
from training.batches import Batch, batches
from training.errors import TrainingError
from training.teachers.small import ClipTeacher

Fingerprint = Mapping[str, str | int | list[float]]

_BLOCK = 4096  # samples a block: what a stop may lose, for each process


class EmbeddingCache:
    """A whole cache, opened for reading.

    Args:
        folder: of the cache.
        fingerprint: what the embeddings must be of; `samples` and `width` are N and E.

    Attributes:
        fingerprint: as given.
        seed: of the crops, from the fingerprint.

    Raises:
        TrainingError: there is no cache, it is of something else, or of another size; it says what
            differs.
    """

    def __init__(self, folder: Path, *, fingerprint: Fingerprint) -> None:
        if not (folder / "fingerprint.json").is_file():
            raise TrainingError(f"there is no embedding cache {folder}")
        _check_fingerprint(folder, fingerprint)
        self.folder = folder
        self.fingerprint = dict(fingerprint)
        self.seed = _whole_number(fingerprint, "seed")
        self.embeddings = _open(folder, fingerprint, mode="r")

    def __getitem__(self, sample: int) -> np.ndarray:
        """The embedding of a sample, float16 [E], of NaN if its picture could not be read."""
        return np.array(self.embeddings[sample])

    def __reduce__(self) -> tuple[Any, ...]:
        # A worker that is not forked opens the file anew: pickled, a memmap is all of its data.
        return partial(EmbeddingCache, fingerprint=self.fingerprint), (self.folder,)


class EmbeddingWriter:
    """A cache in the making, in `folder` with `.partial` added to its name.

    Args:
        folder: where the cache will be. What was made of it before is gone on with.
        fingerprint: of the cache; `samples` and `width` are N and E.

    Raises:
        TrainingError: the cache is there already, or its beginning is of something else; it says
            what differs.
    """

    def __init__(self, folder: Path, *, fingerprint: Fingerprint) -> None:
        if folder.exists():
            raise TrainingError(f"{folder} exists; an embedding cache is written once")
        self.folder = folder
        self.partial = folder.with_name(folder.name + ".partial")
        self.samples, self.width = _shape(fingerprint)
        if not (self.partial / "fingerprint.json").exists():
            self._begin(fingerprint)
        _check_fingerprint(self.partial, fingerprint)
        self.embeddings = _open(self.partial, fingerprint, mode="r+")
        self.done = np.load(self.partial / "done.npy", mmap_mode="r+", allow_pickle=False)

    def write(self, block: int, embeddings: np.ndarray) -> None:
        """Writes the embeddings [n,E] of one block, and then that it is done."""
        self.embeddings[block * _BLOCK : (block + 1) * _BLOCK] = embeddings
        self.embeddings.flush()
        self.done[block] = True
        self.done.flush()

    def finish(self) -> None:
        """Gives the cache its name.

        Raises:
            TrainingError: blocks are missing.
        """
        missing = int((~self.done).sum())
        if missing:
            raise TrainingError(
                f"{missing} of {len(self.done)} blocks of {self.folder} are missing"
            )
        self.partial.rename(self.folder)
        (self.folder / "done.npy").unlink()

    def _begin(self, fingerprint: Fingerprint) -> None:
        """Makes the files; the fingerprint comes last and tells that all are there."""
        self.partial.mkdir(parents=True, exist_ok=True)
        shapes = {
            "embeddings.npy": (np.float16, (self.samples, self.width)),
            "done.npy": (np.bool_, (-(-self.samples // _BLOCK),)),
        }
        for name, (dtype, shape) in shapes.items():
            np.lib.format.open_memmap(self.partial / name, mode="w+", dtype=dtype, shape=shape)
        temporary = self.partial / "fingerprint.tmp"
        temporary.write_text(json.dumps(dict(fingerprint), indent=2) + "\n", encoding="utf-8")
        temporary.replace(self.partial / "fingerprint.json")


def fill_cache(
    folder: Path,
    crops: Dataset[Batch],
    teacher: ClipTeacher,
    *,
    fingerprint: Fingerprint,
    batch: int,
    workers: int,
    fabric: Fabric,
    on_progress: OnProgress = no_progress,
) -> None:
    """Writes a cache, or the rest of one; each process takes every W-th block.

    Args:
        folder: where the cache will be.
        crops: `FixedCrops` of the same samples, `batch` of them an item; `batch` divides 4,096.
        teacher: on the process's device.
        fingerprint: of the cache.
        batch: pictures that go through the teacher at once.
        workers: processes that read.
        fabric: launched.
        on_progress: told in the first process how many of its blocks are done.

    Raises:
        TrainingError: `batch` does not divide a block, or as `EmbeddingWriter`.
    """
    if _BLOCK % batch:
        raise TrainingError(f"a batch is {batch}; it must divide {_BLOCK}")
    with fabric.rank_zero_first():
        writer = EmbeddingWriter(folder, fingerprint=fingerprint)
    mine = range(fabric.global_rank, len(writer.done), fabric.world_size)
    todo = [block for block in mine if not writer.done[block]]
    items = -(-writer.samples // batch)
    per_block = _BLOCK // batch
    wanted = {b: range(b * per_block, min((b + 1) * per_block, items)) for b in todo}
    source = batches(crops, [item for each in wanted.values() for item in each], workers=workers)
    tell = on_progress if fabric.is_global_zero else no_progress
    for done, (block, each) in enumerate(wanted.items(), len(mine) - len(todo)):
        tell("embedding", done, len(mine))
        with fabric.autocast():
            rows = [embed_batch(teacher, fabric.to_device(next(source))) for _ in each]
        writer.write(block, torch.cat(rows).numpy())
    fabric.barrier()
    if fabric.is_global_zero:
        writer.finish()
    fabric.barrier()


@torch.no_grad()
def embed_batch(teacher: ClipTeacher, batch: Batch) -> Tensor:
    """Returns embeddings float16 [B,E] on the CPU; NaN for pictures that cannot be read."""
    embeddings = teacher.embed_images(batch["images"]).half()
    embeddings[~batch["readable"]] = torch.nan
    return embeddings.cpu()


def _check_fingerprint(folder: Path, expected: Fingerprint) -> None:
    found = json.loads((folder / "fingerprint.json").read_text(encoding="utf-8"))
    differences = [
        f"{name} is {found.get(name)!r}, not {expected.get(name)!r}"
        for name in sorted(found.keys() | expected.keys())
        if found.get(name) != expected.get(name)
    ]
    if differences:
        raise TrainingError(f"the embedding cache {folder} differs: {'; '.join(differences)}")


def _open(folder: Path, fingerprint: Fingerprint, *, mode: Literal["r", "r+"]) -> np.memmap:
    path = folder / "embeddings.npy"
    try:
        embeddings: np.memmap = np.load(path, mmap_mode=mode, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise TrainingError(f"{path} cannot be opened: {error}") from error
    shape = _shape(fingerprint)
    if embeddings.shape != shape or embeddings.dtype != np.float16:
        raise TrainingError(
            f"{path} differs: it is {embeddings.dtype} {list(embeddings.shape)}, "
            f"not float16 {list(shape)}"
        )
    return embeddings


def _shape(fingerprint: Fingerprint) -> tuple[int, int]:
    return _whole_number(fingerprint, "samples"), _whole_number(fingerprint, "width")


def _whole_number(fingerprint: Fingerprint, name: str) -> int:
    value = fingerprint.get(name)
    if not isinstance(value, int):
        raise TrainingError(f"the fingerprint's {name} is {value!r}; it must be a whole number")
    return value
