"""The cache of hubs: bundles by their ids, and which bundle a revision of a repository was.

    refs/<digest>.json       a revision of a repository: its commit, and the bundle that was there
    bundles/<id>/            a bundle, with those of its files that were needed so far

A bundle is kept once, whatever repositories, branches and commits hold it: an edit of the model
card makes a new commit, and nothing is downloaded again.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from pathlib import Path
from typing import Annotated

from pydantic import StringConstraints

from samclip_sdk.bundle.manifest import MANIFEST_NAME, SIGNATURE_NAME
from samclip_sdk.errors import StorageError, one_line
from samclip_sdk.system.atomic_file import atomic_file
from samclip_sdk.system.records import Record


class Ref(Record):
    """A revision of a repository, as it was when the hub was last asked."""

    endpoint: str
    repository: str
    revision: str
    commit: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{40}$")]
    bundle_id: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{16}$")]


class HubCache:
    """The folder that keeps the bundles of hubs.

    Args:
        folder: made when something is first kept.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def bundle_folder(self, bundle_id: str) -> Path:
        """The folder of a bundle."""
        return self.folder / "bundles" / bundle_id

    def read_ref(self, endpoint: str, repository: str, revision: str) -> Ref | None:
        """The last known state of a revision; None if there is none, or it cannot be read."""
        path = self._ref_path(endpoint, repository, revision)
        try:
            ref = Ref.model_validate_json(path.read_bytes())
        except (OSError, ValueError):  # ValueError: no such JSON, or no path either
            return None
        same = (ref.endpoint, ref.repository, ref.revision) == (endpoint, repository, revision)
        return ref if same else None

    def keep_ref(self, ref: Ref) -> None:
        """Notes a revision. With a cache that cannot be written, the hub is asked the next time."""
        path = self._ref_path(ref.endpoint, ref.repository, ref.revision)
        with suppress(StorageError):
            _write(path, f"{ref.model_dump_json()}\n".encode())

    def keep_manifest(
        self, bundle_id: str, content: bytes, *, signature: bytes | None = None
    ) -> None:
        """Makes a bundle's folder with its manifest alone, and its signature, unless it is there.

        Raises:
            StorageError: it cannot be written.
        """
        folder = self.bundle_folder(bundle_id)
        if signature is not None:
            _write(folder / SIGNATURE_NAME, signature)
        with suppress(OSError, ValueError):
            if (folder / MANIFEST_NAME).read_bytes() == content:
                return
        _write(folder / MANIFEST_NAME, content)

    def _ref_path(self, endpoint: str, repository: str, revision: str) -> Path:
        key = "\n".join((endpoint, repository, revision))
        return self.folder / "refs" / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.json"


def _write(path: Path, content: bytes) -> None:
    """Writes a file whole or not at all, and makes its folder.

    Raises:
        StorageError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:  # ValueError: NUL in the path
        reason = getattr(error, "strerror", None) or error
        raise StorageError(
            f"cannot write {one_line(path.parent)}: {reason}; give a cache_dir elsewhere"
        ) from error
    with atomic_file(path) as file:
        file.write(content)
