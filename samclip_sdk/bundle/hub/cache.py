"""What is kept of hubs: bundles by their ids, and which bundle a revision of a repository was.

    refs/<digest>.json       a revision of a repository: its commit, and the bundle that was there
    bundles/<id>/            a bundle, with those of its files that were needed so far
    bundles/<id>.partial/    files of it that are on their way, each by its sha256
    bundles/<id>.lock        held by the process that brings files

A bundle is kept once, whatever repositories, branches and commits it is in: an edit of the model
card makes a new commit, and nothing is downloaded again.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from pathlib import Path
from typing import Annotated

from pydantic import StringConstraints

from samclip_sdk.bundle.manifest import MANIFEST_NAME, SIGNATURE_NAME
from samclip_sdk.errors import StorageError, one_line
from samclip_sdk.system.atomic_folder import scratch_folder, sweep
from samclip_sdk.system.records import Record


class Ref(Record):
    """What a revision of a repository was when it was last asked for."""

    endpoint: str
    repository: str
    revision: str
    commit: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{40}$")]
    bundle_id: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{16}$")]


class HubCache:
    """The folder in which bundles of hubs are kept.

    Args:
        folder: made when something is first kept.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def bundle_folder(self, bundle_id: str) -> Path:
        """Where a bundle is kept."""
        return self.folder / "bundles" / bundle_id

    def read_ref(self, endpoint: str, repository: str, revision: str) -> Ref | None:
        """What is known of a revision; None if nothing is, or it cannot be read."""
        path = self._ref_path(endpoint, repository, revision)
        try:
            ref = Ref.model_validate_json(path.read_bytes())
        except (OSError, ValueError):  # ValueError: no such JSON, or no path either
            return None
        same = (ref.endpoint, ref.repository, ref.revision) == (endpoint, repository, revision)
        return ref if same else None

    def keep_ref(self, ref: Ref) -> None:
        """Notes down a revision. A cache that cannot be written is asked again the next time."""
        path = self._ref_path(ref.endpoint, ref.repository, ref.revision)
        with suppress(StorageError):
            _write(path, f"{ref.model_dump_json()}\n".encode(), beside=path)

    def keep_manifest(
        self, bundle_id: str, content: bytes, *, signature: bytes | None = None
    ) -> None:
        """Makes a bundle's folder, with its manifest alone, and its signature, unless it is there.

        Raises:
            StorageError: it cannot be written.
        """
        folder = self.bundle_folder(bundle_id)
        path = folder / MANIFEST_NAME
        if signature is not None:
            make_folder(folder)
            _write(folder / SIGNATURE_NAME, signature, beside=folder)
        with suppress(OSError, ValueError):
            if path.read_bytes() == content:
                sweep(folder.parent)
                return
        make_folder(folder)
        _write(path, content, beside=folder)

    def _ref_path(self, endpoint: str, repository: str, revision: str) -> Path:
        key = "\n".join((endpoint, repository, revision))
        return self.folder / "refs" / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.json"


def _write(path: Path, content: bytes, *, beside: Path) -> None:
    """Writes a file whole or not at all. What a killed process leaves, the next one removes.

    Raises:
        StorageError: it cannot be written.
    """
    with scratch_folder(beside) as scratch:
        new = scratch / path.name
        with new.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(new, path)


def make_folder(path: Path) -> None:
    """Makes a folder and those above it.

    Raises:
        StorageError: it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:  # ValueError: NUL in the path
        reason = getattr(error, "strerror", None) or error
        raise StorageError(
            f"cannot write {one_line(path)}: {reason}; give a cache_dir elsewhere"
        ) from error
