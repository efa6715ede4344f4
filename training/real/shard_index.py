"""The places of images in tar shards, so that any of them is one read away.

The shards are WebDataset's, as img2dataset writes them: KEY.jpg beside KEY.json and KEY.txt. A
shard's headers are scanned once; what was found is kept in a folder beside others' and is good for
as long as the shard keeps its size and time of change. In memory stay the numbers of samples and
the tables of the few shards that were read last.
"""

from __future__ import annotations

import hashlib
import random
import re
import tarfile
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from samclip_sdk.system.atomic_file import atomic_file
from samclip_sdk.system.progress import OnProgress, no_progress
from training.errors import TrainingError
from training.real.records import BrokenRecord, Split, explain_lack, in_split, key_hash

_IMAGES = frozenset({"jpg", "jpeg", "png", "webp"})
_NAME = re.compile(r"((?:.*/)?[^./]+)\.([^/]*)")  # WebDataset's: the key is before the first dot
_MEMBER = np.dtype([("offset", "<i8"), ("size", "<i8"), ("key", "<u8")])
_FORMAT = 3  # of the tables on disk


class ShardIndex:
    """The images of some shards on one side of the split, numbered as they lie.

    Processes that open the same shards at once share the work of scanning them: each takes them in
    an order of its own and skips what is already there.

    Args:
        shards: tar files. Their order is that of the samples.
        cache: folder for the tables; it is made.
        on_progress: told how many of the shards that have no table yet are scanned.

    Attributes:
        starts: int64 [n+1], the first sample of each shard, and the number of all.
        faults: how many shards are `truncated`, and how many keys are `without_image`.

    Raises:
        TrainingError: there is no image on this side of the split.
        OSError: a shard cannot be opened.
    """

    def __init__(
        self,
        shards: Sequence[Path],
        *,
        cache: Path,
        split: Split,
        on_progress: OnProgress = no_progress,
    ) -> None:
        self.shards = list(shards)
        self.split: Split = split
        cache.mkdir(parents=True, exist_ok=True)
        self.sizes = [shard.stat().st_size for shard in self.shards]
        self.tables = [cache / _table_name(shard) for shard in self.shards]
        missing = [i for i, table in enumerate(self.tables) if not table.exists()]
        random.SystemRandom().shuffle(missing)
        for done, i in enumerate(missing):
            on_progress("scanning shards", done, len(missing))
            if not self.tables[i].exists():
                members, faults = _scan(self.shards[i])
                with atomic_file(self.tables[i]) as file:
                    np.savez(file, members=members, faults=faults)
        self.faults: Counter[str] = Counter()
        counts = np.zeros(len(self.shards), np.int64)
        for i, table in enumerate(self.tables):
            with np.load(table, allow_pickle=False) as arrays:
                counts[i] = in_split(arrays["members"]["key"], split).sum()
                truncated, without_image = arrays["faults"].tolist()
            self.faults.update(truncated=truncated, without_image=without_image)
        self.starts = np.concatenate([np.zeros(1, np.int64), counts.cumsum()])
        if not len(self):
            raise TrainingError(
                f"no image for {split} in {len(self.shards)} shards "
                f"({self.faults['truncated']} of them truncated): {explain_lack(split)}"
            )

    def __len__(self) -> int:
        return int(self.starts[-1])

    def read(self, sample: int) -> bytes:
        """Reads an image's file; raises BrokenRecord if the shard is gone or ends too early."""
        shard = int(np.searchsorted(self.starts, sample, side="right")) - 1
        path, first = self.shards[shard], int(self.starts[shard])
        try:
            member: np.void = _members(self.tables[shard], self.split)[sample - first]
            with path.open("rb") as file:
                file.seek(int(member["offset"]))
                data = file.read(int(member["size"]))
        except OSError as error:
            raise BrokenRecord("record", f"{path}: {error}") from error
        if len(data) < member["size"]:
            raise BrokenRecord("record", f"{path} has become shorter")
        return data

    def digest(self) -> str:
        """Tells sets of shards apart by names, sizes and numbers of samples, wherever they lie."""
        lines = [
            f"{shard.name} {size} {start}"
            for shard, size, start in zip(self.shards, self.sizes, self.starts[1:], strict=True)
        ]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:32]


def _table_name(shard: Path) -> str:
    """The name of a shard's table holds all that makes it stale."""
    stat = shard.stat()
    identity = f"{_FORMAT} {shard.resolve()} {stat.st_size} {stat.st_mtime_ns}"
    return f"{shard.stem}-{hashlib.sha256(identity.encode()).hexdigest()[:16]}.npz"


def _scan(shard: Path) -> tuple[np.ndarray, np.ndarray]:
    """Reads a shard's headers.

    Returns:
        Offset, size and key's hash of the first image of each key; and int64 [2]: whether the
        shard is truncated, and how many keys have no image.
    """
    spans: list[tuple[int, int] | None] = []
    keys: list[str] = []
    length = shard.stat().st_size
    truncated = True
    try:
        with tarfile.open(shard, "r:") as tar:
            for member in tar:
                name = _NAME.fullmatch(member.name)
                if not member.isreg() or name is None:
                    continue
                if not keys or name[1] != keys[-1]:
                    keys.append(name[1])
                    spans.append(None)
                whole = member.offset_data + member.size <= length
                if name[2].lower() in _IMAGES and whole and spans[-1] is None:
                    spans[-1] = (member.offset_data, member.size)
            truncated = not _ends(shard, tar.offset)
    except tarfile.TarError:  # What lies before the damage is good.
        pass
    rows = [
        (*span, key_hash(key)) for key, span in zip(keys, spans, strict=True) if span is not None
    ]
    faults = np.array([truncated, len(keys) - len(rows)], np.int64)
    return np.array(rows, _MEMBER), faults


def _ends(shard: Path, offset: int) -> bool:
    """Returns whether a tar file ends in zeros here: tarfile takes damage for an end."""
    with shard.open("rb") as file:
        file.seek(offset)
        return file.read(tarfile.BLOCKSIZE) == bytes(tarfile.BLOCKSIZE)


@lru_cache(maxsize=64)
def _members(table: Path, split: Split) -> np.ndarray:
    """A shard's images on one side of the split."""
    with np.load(table, allow_pickle=False) as arrays:
        every = arrays["members"]
    members: np.ndarray = every[in_split(every["key"], split)]
    return members
