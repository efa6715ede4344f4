"""Brings the files of a hub's bundle into its folder, each of them whole and verified, or not."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from samclip_sdk.bundle.files import file_sha256
from samclip_sdk.bundle.graph_spec import StoredFile
from samclip_sdk.bundle.hub.cache import make_folder
from samclip_sdk.bundle.hub.remote import BUNDLE_FOLDER, PAUSES_S, Remote
from samclip_sdk.bundle.manifest import SIGNATURE_NAME
from samclip_sdk.bundle.signature import SIGNATURE_BYTES
from samclip_sdk.errors import (
    BundleTamperedError,
    HubError,
    HubUnreachableError,
    StorageError,
    one_line,
)
from samclip_sdk.system.progress import OnProgress

_MEGA = 1e6


class HubFiles:
    """The origin of a bundle that is on a hub, at one commit of a repository.

    Args:
        folder: the bundle's.
        remote: the repository.
        commit: of it.
        asks_nobody: whether what is missing may not be downloaded.
        on_progress: told how many megabytes are there, of those that are missing.

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
        self._partials = folder.with_name(f"{folder.name}.partial")
        self._remote = remote
        self._commit = commit
        self._asks_nobody = asks_nobody
        self._on_progress = on_progress

    def fetch(self, files: Sequence[StoredFile]) -> None:
        """Downloads those files that are not in the folder.

        What a cut connection or a killed process leaves of a file is gone on with, even by a later
        process. Of several processes one downloads, the others wait and find it.

        Raises:
            HubUnreachableError: there is no network, or the connection is cut again and again.
            HubError: the hub refuses a file, or may not be asked.
            BundleTamperedError: the hub has other bytes than the manifest states.
            StorageError: the folder cannot be written, or its disk is too small.
        """
        if not self._missing(files):
            return
        if self._asks_nobody:
            raise HubError(
                f"{self._missing(files)[0].path} of {self.name} is not in {self._folder}, and no "
                "hub may be asked: load it once without local_files_only and HF_HUB_OFFLINE"
            )
        with self._alone():
            missing = self._missing(files)
            self._check_space(missing)
            total, done = sum(each.size_bytes for each in missing), 0
            for stored in missing:
                self._bring(stored, tell=self._teller(done, total))
                done += stored.size_bytes

    def signature(self) -> bytes | None:
        """What signs the bundle's manifest on the hub; None if nothing does.

        Raises:
            HubError: the hub does not say, or may not be asked.
        """
        if self._asks_nobody:
            raise HubError(f"whether {self.name} is signed is not known, and no hub may be asked")
        return self._remote.optional(SIGNATURE_NAME, commit=self._commit, limit=SIGNATURE_BYTES)

    def _missing(self, files: Sequence[StoredFile]) -> list[StoredFile]:
        return [each for each in files if not os.path.lexists(self._folder / each.path)]

    def _teller(self, before: int, total: int) -> Callable[[int], None]:
        """Tells of a file's bytes as of a part of all that is missing."""
        message, told = f"downloading {self._remote.repository} (MB)", -1

        def tell(size: int) -> None:
            nonlocal told
            done = int((before + size) / _MEGA)
            if done != told:
                told = done
                self._on_progress(message, done, int(total / _MEGA))

        return tell

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keeps other processes and threads waiting, who would write into the same files."""
        lock = FileLock(self._folder.with_name(f"{self._folder.name}.lock"))
        try:
            try:
                lock.acquire(blocking=False)
            except Timeout:
                self._on_progress(f"another process downloads {self._remote.repository}", 0, 0)
                lock.acquire()
        except (OSError, NotImplementedError) as error:
            raise StorageError(
                f"cannot lock {one_line(self._folder)} for a download: "
                f"{getattr(error, 'strerror', None) or error}; give a cache_dir elsewhere"
            ) from error
        try:
            make_folder(self._partials)
            yield
        finally:
            with suppress(OSError):  # What is left of a file stays.
                self._partials.rmdir()
            lock.release()

    def _check_space(self, files: Sequence[StoredFile]) -> None:
        wanted = sum(each.size_bytes - self._size(each) for each in files)
        free = shutil.disk_usage(self._folder).free
        if wanted > free:
            raise StorageError(
                f"{self._remote.repository} needs {wanted / _MEGA:.0f} MB, and {self._folder} has "
                f"{free / _MEGA:.0f} MB free: make room, or give a cache_dir elsewhere"
            )

    def _bring(self, stored: StoredFile, *, tell: Callable[[int], None]) -> None:
        """Downloads a file. What was left of it may be damaged: it is then begun anew, once."""
        partial, target = self._partial(stored), self._folder / stored.path
        try:
            for _ in range(2):
                rest = self._size(stored)
                self._complete(stored, partial=partial, tell=tell)
                if file_sha256(partial) == stored.sha256:
                    target.parent.mkdir(parents=True, exist_ok=True)
                    os.replace(partial, target)
                    return
                partial.unlink()
                if not rest:
                    break
        except BundleTamperedError:
            partial.unlink(missing_ok=True)
            raise
        except OSError as error:
            raise StorageError(
                f"cannot write {one_line(target)}: {error.strerror or error}"
            ) from error
        raise self._tampered(stored, "its sha256 is not the manifest's")

    def _complete(self, stored: StoredFile, *, partial: Path, tell: Callable[[int], None]) -> None:
        """Goes on with a file until it has its size, over cut connections and servers that fail."""
        longest, failures = self._size(stored), 0
        partial.touch()
        if longest > stored.size_bytes:
            os.truncate(partial, 0)
            longest = 0
        while self._size(stored) < stored.size_bytes:
            cut: HubUnreachableError | None = None
            try:
                self._receive(stored, partial=partial, tell=tell)
            except HubUnreachableError as error:
                cut = error
            size = self._size(stored)
            failures = 0 if size > longest else failures + 1
            longest = max(longest, size)
            if size < stored.size_bytes and failures > len(PAUSES_S):
                if cut is None:
                    raise self._tampered(stored, "it is shorter than the manifest says")
                raise HubUnreachableError(
                    f"{cut}, and {stored.path} of {self.name} is not in {self._folder} as a whole: "
                    "load it again with a network; what came is kept"
                ) from cut
            if size < stored.size_bytes and failures:
                time.sleep(PAUSES_S[failures - 1])

    def _receive(self, stored: StoredFile, *, partial: Path, tell: Callable[[int], None]) -> None:
        """Appends what one request brings, onto the disk."""
        with partial.open("r+b") as file:
            start = file.seek(0, os.SEEK_END)
            with self._remote.opened(stored.path, commit=self._commit, start=start) as (at, chunks):
                file.seek(at)
                file.truncate()
                for chunk in chunks:
                    if file.tell() + len(chunk) > stored.size_bytes:
                        raise self._tampered(stored, "it is longer than the manifest says")
                    file.write(chunk)
                    tell(file.tell())
            file.flush()
            os.fsync(file.fileno())

    def _partial(self, stored: StoredFile) -> Path:
        return self._partials / stored.sha256

    def _size(self, stored: StoredFile) -> int:
        """How much there is of a file that is on its way."""
        try:
            return self._partial(stored).stat().st_size
        except FileNotFoundError:
            return 0

    def _tampered(self, stored: StoredFile, reason: str) -> BundleTamperedError:
        return BundleTamperedError(
            f"{BUNDLE_FOLDER}/{stored.path} of {self.name} was changed on the hub: {reason}. "
            "Nothing of it is kept; tell who pushed it"
        )
