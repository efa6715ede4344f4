"""Brings the files of a hub's bundle into its folder, each of them whole and verified."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from samclip_sdk.bundle.files import verify_file
from samclip_sdk.bundle.graph_spec import StoredFile
from samclip_sdk.bundle.hub.remote import BUNDLE_FOLDER, Remote
from samclip_sdk.bundle.manifest import SIGNATURE_NAME
from samclip_sdk.bundle.signature import SIGNATURE_BYTES
from samclip_sdk.errors import BundleTamperedError, HubError, HubUnreachableError, StorageError
from samclip_sdk.system.atomic_folder import scratch_folder, taking_turns
from samclip_sdk.system.leftovers import sweep_once
from samclip_sdk.system.progress import OnProgress

_MEGA = 1e6


class HubFiles:
    """The origin of a bundle that is on a hub, at one commit of a repository.

    Args:
        folder: the bundle's folder, with its manifest.
        remote: the repository.
        commit: the commit of the repository.
        asks_nobody: whether no missing file may be downloaded.
        on_progress: told how many megabytes have come, of the missing ones.

    Attributes:
        name: `org/name@commit`.
    """

    def __init__(
        self,
        folder: Path,
        *,
        remote: Remote,
        commit: str,
        asks_nobody: bool,
        on_progress: OnProgress,
    ) -> None:
        self.name = f"{remote.repository}@{commit}"
        self._folder = folder
        self._remote = remote
        self._commit = commit
        self._asks_nobody = asks_nobody
        self._on_progress = on_progress

    def fetch(self, files: Sequence[StoredFile]) -> None:
        """Downloads those files that are not in the folder.

        If several processes ask at once, one downloads, and the others wait.

        Raises:
            HubUnreachableError: there is no network, or the connection is cut again and again.
            HubError: the hub refuses a file, or may not be asked.
            BundleTamperedError: the hub has other bytes than the manifest states.
            StorageError: the folder cannot be written, or its disk is too small.
        """
        sweep_once(self._folder.parent)
        if not self._missing(files):
            return
        if self._asks_nobody:
            raise HubError(
                f"{self._missing(files)[0].path} of {self.name} is not in {self._folder}, and no "
                "hub may be asked: load it once without local_files_only and HF_HUB_OFFLINE"
            )
        with taking_turns(self._folder):
            missing = self._missing(files)
            if missing:
                self._check_space(missing)
                self._bring(missing)

    def signature(self) -> bytes | None:
        """The signature of the manifest on the hub; None if there is none.

        Raises:
            HubError: the hub does not say, or may not be asked.
        """
        if self._asks_nobody:
            raise HubError(f"whether {self.name} is signed is not known, and no hub may be asked")
        return self._remote.optional(SIGNATURE_NAME, commit=self._commit, limit=SIGNATURE_BYTES)

    def _missing(self, files: Sequence[StoredFile]) -> list[StoredFile]:
        return [each for each in files if not os.path.lexists(self._folder / each.path)]

    def _check_space(self, files: Sequence[StoredFile]) -> None:
        wanted, free = _total(files), shutil.disk_usage(self._folder).free
        if wanted > free:
            raise StorageError(
                f"{self._remote.repository} needs {wanted / _MEGA:.0f} MB, and {self._folder} has "
                f"{free / _MEGA:.0f} MB free: make room, or give a cache_dir elsewhere"
            )

    def _bring(self, files: Sequence[StoredFile]) -> None:
        """Downloads files into a hidden folder, and moves each to its place once it is verified."""
        # One quick question: without a network huggingface_hub would ask for minutes.
        stored, done = files[0], 0
        try:
            self._remote.commit_of(self._commit)
            for stored in files:
                tell = self._teller(done, _total(files))
                with scratch_folder(self._folder) as scratch:
                    found = self._download(stored, folder=scratch, tell=tell)
                    target = self._folder / stored.path
                    target.parent.mkdir(parents=True, exist_ok=True)
                    os.replace(found, target)
                done += stored.size_bytes
        except HubUnreachableError as error:
            raise HubUnreachableError(
                f"{error}, and {stored.path} of {self.name} is not in {self._folder}: load it "
                "again with a network; the files before it are kept"
            ) from error

    def _download(self, stored: StoredFile, *, folder: Path, tell: Callable[[int], None]) -> Path:
        found = self._remote.download(
            stored.path,
            commit=self._commit,
            folder=folder,
            limit=stored.size_bytes,
            too_long=self._tampered(stored, "it is longer than the manifest says"),
            tell=tell,
        )
        try:
            verify_file(found, stored=stored)
        except BundleTamperedError as error:
            raise self._tampered(stored, "its sha256 is not the manifest's") from error
        with found.open("rb+") as file:
            os.fsync(file.fileno())
        return found

    def _teller(self, before: int, total: int) -> Callable[[int], None]:
        """Tells of a file's bytes as a part of all missing ones."""
        message, told = f"downloading {self._remote.repository} (MB)", -1

        def tell(size: int) -> None:
            nonlocal told
            done = int((before + size) / _MEGA)
            if done > told:
                told = done
                self._on_progress(message, done, int(total / _MEGA))

        return tell

    def _tampered(self, stored: StoredFile, reason: str) -> BundleTamperedError:
        return BundleTamperedError(
            f"{BUNDLE_FOLDER}/{stored.path} of {self.name} was changed on the hub: {reason}. "
            "Nothing of it is kept; tell who pushed it"
        )


def _total(files: Sequence[StoredFile]) -> int:
    return sum(each.size_bytes for each in files)
