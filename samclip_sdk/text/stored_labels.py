"""Class embeddings of labels that an earlier process computed, on the disk."""

from __future__ import annotations

import hashlib
import json
import math
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from samclip_sdk.errors import StorageError
from samclip_sdk.system.atomic_file import atomic_file
from samclip_sdk.system.user_folders import user_cache

Array = NDArray[np.float32]

STORED_BYTES = 64 << 20
"""20,000 embeddings of CLIP ViT-L, of all models together."""

_DIGEST_BYTES = hashlib.sha256().digest_size
_WRITES_PER_SWEEP = 256
_KEPT_SHARE = 0.8


class StoredLabels:
    """Class embeddings in the user's cache folder, for later processes.

    Each label has a file. Its name is a digest of all that decides its content, and it begins with
    a digest of the name and the rest. So any number of processes may read and write at once, and a
    damaged file counts as missing. A folder that cannot be read or written costs time, nothing
    else.

    Args:
        made_by: all that decides an embedding besides the label; see `OpenedSource.fingerprint`.
        folder: `text_cache_folder()` if None.
        limit_bytes: the limit of the folder, all models together.
    """

    def __init__(
        self,
        made_by: Sequence[str],
        *,
        folder: Path | None = None,
        limit_bytes: int = STORED_BYTES,
    ) -> None:
        self._made_by = list(made_by)
        self._folder = folder or text_cache_folder()
        self._limit_bytes = limit_bytes
        self._written = 0

    def get(self, label: str) -> Array | None:
        """The embedding [E] of a cleaned label, if it is there and whole."""
        name = self._name(label)
        path = self._folder / name
        try:
            content = path.read_bytes()
        except OSError:
            return None
        digest, data = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
        if digest != _digest(name.encode(), data):
            return None
        with suppress(OSError):
            os.utime(path)  # the least recently used are swept first
        return np.frombuffer(data, dtype="<f4").astype(np.float32)

    def put(self, label: str, embedding: Array) -> None:
        """Keeps the embedding [E] of a cleaned label, if the folder can be written."""
        name, data = self._name(label), embedding.astype("<f4").tobytes()
        with suppress(OSError, StorageError):
            self._folder.mkdir(parents=True, exist_ok=True)
            if self._written % _WRITES_PER_SWEEP == 0:
                self._sweep()
            with atomic_file(self._folder / name) as file:
                file.write(_digest(name.encode(), data) + data)
            self._written += 1

    def _name(self, label: str) -> str:
        return _digest(json.dumps([*self._made_by, label]).encode()).hex()

    def _sweep(self) -> None:
        """Removes the least recently used files, if the folder has grown beyond its limit.

        Files that were used in the future go first: the clock was wrong then, and would keep them
        for ever.
        """
        now = time.time()
        files = []
        with os.scandir(self._folder) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):  # Another process sweeps too.
                    found = entry.stat(follow_symlinks=False)
                    used = found.st_mtime if found.st_mtime <= now else -math.inf
                    files.append((used, found.st_size, Path(entry.path)))
        held_bytes = sum(size_bytes for _, size_bytes, _ in files)
        if held_bytes <= self._limit_bytes:
            return
        for _, size_bytes, path in sorted(files):
            if held_bytes <= _KEPT_SHARE * self._limit_bytes:
                return
            with suppress(OSError):  # It is gone, or was put there by somebody else.
                path.unlink()
                held_bytes -= size_bytes


def text_cache_folder() -> Path:
    """The folder of stored embeddings of labels; it may be removed at any time."""
    return user_cache("text")


def _digest(*parts: bytes) -> bytes:
    return hashlib.sha256(b"\0".join(parts)).digest()
