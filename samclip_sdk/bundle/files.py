"""Checks of a bundle's files: inside its folder, regular, with the bytes of the manifest."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from samclip_sdk.bundle.graph_spec import StoredFile
from samclip_sdk.errors import (
    BundleError,
    BundleTamperedError,
)

_CHUNK_BYTES = 1 << 20


def file_sha256(path: Path) -> str:
    """The sha256 of a file's bytes, 64 hex digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def inside(root: Path, path: str) -> Path:
    """The file that a path in a bundle leads to, links resolved; a circle of links stays one.

    Raises:
        BundleError: the path leads out of the bundle.
    """
    found = Path(os.path.realpath(root / path))
    if not found.is_relative_to(root):
        raise BundleError(f"{root / path} is a link that leads out of the bundle")
    return found


def size_bytes(path: Path) -> int:
    """The size of a regular file. Nothing else may be opened: a pipe could block forever.

    Raises:
        OSError: there is no regular file.
    """
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "it is not a regular file")
    return found.st_size


def verify_file(path: Path, *, stored: StoredFile) -> None:
    """Compares a file with the size and the sha256 in the manifest.

    Raises:
        BundleError: it is missing or cannot be read.
        BundleTamperedError: it has other bytes.
    """
    try:
        same = size_bytes(path) == stored.size_bytes and file_sha256(path) == stored.sha256
    except FileNotFoundError as error:
        raise BundleError(f"{path} is missing from the bundle") from error
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror}") from error
    if not same:
        raise BundleTamperedError(f"{path} was changed: its sha256 is not the manifest's")


@dataclass(frozen=True)
class GraphFile:
    """An artifact of a graph on the disk, verified.

    Attributes:
        path: the file that the runtime opens; for a Core ML package its Manifest.json.
        sha256: the digest of that file.
        weights_sha256: the digests of the further files that it reads, in the manifest's order.
        precision: "fp32", "fp16", "int8" or "palette6"; "bf16" if an fp32 file is to run in bf16.
        axes: symbolic axis -> its one length in this file; empty where it takes any.
        proven: whether it was compared with eager torch on the runtime that it is for.
    """

    path: Path
    sha256: str = ""
    weights_sha256: tuple[str, ...] = ()
    precision: str = "fp32"
    axes: Mapping[str, int] = field(default_factory=dict)
    proven: bool = True
