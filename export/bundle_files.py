"""A bundle in the making: its files, written, hashed and listed, and what its artifacts must be."""

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
    """What the writers of artifacts, one for each kind of them, are given alike.

    Attributes:
        folder: of the bundle.
        probes: of each graph, which its artifacts are held to.
        plan: graph -> what is computed in fp32 where the rest is in fp16.
        random_weights: numeric gates only.
        steps: told what is being done.
    """

    folder: Path
    probes: Mapping[str, Sequence[Probe]]
    plan: Mapping[str, Sequence[Pin]]
    random_weights: bool
    steps: Steps


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
