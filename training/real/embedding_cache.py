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
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.utils.data import Dataset

from samclip_sdk.system.progress import OnProgress, no_progress
from training.batches import Batch, batches
from training.errors import TrainingError
from training.files import write_json
from training.teachers.small import ClipTeacher

Fingerprint = Mapping[str, Any]
"""Facts of a cache, ready for JSON; `samples` and `width` are N and E, `seed` that of the crops."""

_EMBEDDINGS, _DONE, _FINGERPRINT = "embeddings.npy", "done.npy", "fingerprint.json"
_BLOCK = 4096  # samples a block: what a stop may lose, for each process


class EmbeddingCache:
    """A whole cache, opened for reading.

    Args:
        fingerprint: what the embeddings must be of.

    Raises:
        TrainingError: there is no cache, it is damaged or of something else; it says what differs.
    """

    def __init__(self, folder: Path, *, fingerprint: Fingerprint) -> None:
        if not (folder / _FINGERPRINT).is_file():
            raise TrainingError(f"there is no embedding cache {folder}")
        _check_fingerprint(folder, fingerprint)
        self.folder = folder
        self.fingerprint = fingerprint
        try:
            self.embeddings = np.load(folder / _EMBEDDINGS, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise TrainingError(f"{folder / _EMBEDDINGS} cannot be opened: {error}") from error

    def __getitem__(self, sample: int) -> np.ndarray:
        """The embedding of a sample, float16 [E], of NaN if its image could not be read."""
        return np.array(self.embeddings[sample])

    def __reduce__(self) -> tuple[Any, ...]:
        # A worker that is not forked opens the file anew: pickled, a memmap is all of its data.
        return partial(EmbeddingCache, fingerprint=self.fingerprint), (self.folder,)


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

    The crops are `FixedCrops` of the same samples, `batch` of them an item, which go through the
    teacher at once; in the first process progress is told, by blocks.

    Raises:
        TrainingError: `batch` does not divide a block, the cache is there already, or its beginning
            is of something else; it says what differs.
    """
    if _BLOCK % batch:
        raise TrainingError(f"a batch is {batch}; it must divide {_BLOCK}")
    if folder.exists():
        raise TrainingError(f"{folder} exists; an embedding cache is written once")
    begun = folder.with_name(folder.name + ".partial")
    with fabric.rank_zero_first():
        if not (begun / _FINGERPRINT).exists():
            _begin(begun, fingerprint)
        _check_fingerprint(begun, fingerprint)
    embeddings = np.load(begun / _EMBEDDINGS, mmap_mode="r+", allow_pickle=False)
    written = np.load(begun / _DONE, mmap_mode="r+", allow_pickle=False)
    mine = range(fabric.global_rank, len(written), fabric.world_size)
    todo = [block for block in mine if not written[block]]
    items, per_block = -(-len(embeddings) // batch), _BLOCK // batch
    wanted = {b: range(b * per_block, min((b + 1) * per_block, items)) for b in todo}
    source = batches(crops, [item for each in wanted.values() for item in each], workers=workers)
    tell = on_progress if fabric.is_global_zero else no_progress
    for done, (block, each) in enumerate(wanted.items(), len(mine) - len(todo)):
        tell("embedding", done, len(mine))
        with fabric.autocast():
            rows = [embed_batch(teacher, fabric.to_device(next(source))) for _ in each]
        embeddings[block * _BLOCK : (block + 1) * _BLOCK] = torch.cat(rows).numpy()
        embeddings.flush()
        written[block] = True
        written.flush()
    fabric.barrier()
    if fabric.is_global_zero:
        begun.rename(folder)
        (folder / _DONE).unlink()
    fabric.barrier()


@torch.no_grad()
def embed_batch(teacher: ClipTeacher, batch: Batch) -> Tensor:
    """Returns embeddings float16 [B,E] on the CPU; NaN for images that cannot be read."""
    embeddings = teacher.embed_images(batch["images"]).half()
    embeddings[~batch["readable"]] = torch.nan
    return embeddings.cpu()


def _begin(folder: Path, fingerprint: Fingerprint) -> None:
    """Makes the files of a new cache; the fingerprint comes last and tells that all are there."""
    folder.mkdir(parents=True, exist_ok=True)
    samples = fingerprint["samples"]
    for name, dtype, shape in (
        (_EMBEDDINGS, np.float16, (samples, fingerprint["width"])),
        (_DONE, np.bool_, (-(-samples // _BLOCK),)),
    ):
        np.lib.format.open_memmap(folder / name, mode="w+", dtype=dtype, shape=shape)
    write_json(folder / _FINGERPRINT, fingerprint)


def _check_fingerprint(folder: Path, expected: Fingerprint) -> None:
    found = json.loads((folder / _FINGERPRINT).read_text(encoding="utf-8"))
    differences = [
        f"{name} is {found.get(name)!r}, not {expected.get(name)!r}"
        for name in sorted(found.keys() | expected.keys())
        if found.get(name) != expected.get(name)
    ]
    if differences:
        raise TrainingError(f"the embedding cache {folder} differs: {'; '.join(differences)}")
