"""A file in a cache whose first line tells what its content was made from and for.

The content is read only if that line is exactly the one that is needed, and holds the content's
sha256. Whatever else lies there, older, damaged or cut short, counts for nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from samclip_sdk.errors import StorageError
from samclip_sdk.system.atomic_file import atomic_file


class KeyedFile:
    """The place of a content in a cache.

    Args:
        folder: of the cache; `write` makes it.
        name: what the file's name begins and ends with, "graph.blob" for instance.
        key: what the content was made from and for, as JSON can hold it. Any difference makes it
            another file, but for "version", that of what made it: a new one takes the place of the
            old one.

    Attributes:
        path: of the file.
    """

    def __init__(self, folder: Path, *, name: str, key: Mapping[str, Any]) -> None:
        self._key = dict(key)
        digest = hashlib.sha256(_json({**key, "version": None})).hexdigest()[:16]
        start, _, ending = name.rpartition(".")
        self.path = folder / f"{start}-{digest}.{ending}"

    def read(self) -> bytes | None:
        """The content; None where there is none that fits and is whole."""
        try:
            header, _, content = self.path.read_bytes().partition(b"\n")
        except OSError:
            return None
        return content if header == self._header(content) else None

    def write(self, content: bytes) -> None:
        """Keeps a content.

        Raises:
            StorageError: it cannot be written.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"cannot write {self.path}: {error.strerror or error}") from error
        with atomic_file(self.path) as file:
            file.write(self._header(content) + b"\n")
            file.write(content)

    def _header(self, content: bytes) -> bytes:
        return _json({**self._key, "content_sha256": hashlib.sha256(content).hexdigest()})


def _json(key: Mapping[str, Any]) -> bytes:
    return json.dumps(key, sort_keys=True).encode()
