"""Writes, hashes and lists the files of a bundle."""

from __future__ import annotations

from pathlib import Path

from samclip_sdk.bundle.files import file_sha256
from samclip_sdk.bundle.graph_spec import StoredFile


def store(folder: Path, path: str, data: bytes) -> StoredFile:
    """Writes a file of the bundle at `folder`, and makes its parent folders."""
    file = folder / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
    return stored_file(folder, path)


def stored_file(folder: Path, path: str) -> StoredFile:
    """Makes the manifest's entry of a file that exists."""
    file = folder / path
    return StoredFile(path=path, sha256=file_sha256(file), size_bytes=file.stat().st_size)
