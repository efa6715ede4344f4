"""Files of a bundle in the making: written, hashed, and listed in its manifest."""

from __future__ import annotations

from pathlib import Path

from samclip_sdk.bundle.graph_spec import StoredFile
from samclip_sdk.bundle.open import file_sha256


def store(folder: Path, path: str, data: bytes) -> StoredFile:
    """Writes a file of the bundle at `folder`, and its folders."""
    file = folder / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
    return stored_file(folder, path)


def stored_file(folder: Path, path: str) -> StoredFile:
    """What the manifest says of a file that is there."""
    file = folder / path
    return StoredFile(path=path, sha256=file_sha256(file), size_bytes=file.stat().st_size)
