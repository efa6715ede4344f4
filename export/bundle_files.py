"""Writes, hashes and lists the files of a new bundle, and holds what its writers share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from export.probes import Probe
from export.steps import Steps
from samclip_sdk.bundle.files import file_sha256
from samclip_sdk.bundle.graph_spec import Pin, StoredFile


@dataclass(frozen=True)
class Draft:
    """The data of a new bundle that the writers of all kinds of artifacts share.

    Attributes:
        folder: the bundle's folder.
        probes: graph -> probes, by which its artifacts are checked.
        plan: graph -> the operations that stay in fp32 if the others are in fp16.
        random_weights: if True, only numeric gates are checked.
        steps: told each step as it begins.
    """

    folder: Path
    probes: Mapping[str, Sequence[Probe]]
    plan: Mapping[str, Sequence[Pin]]
    random_weights: bool
    steps: Steps


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
