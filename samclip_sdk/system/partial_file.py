"""A file in the making, under a hidden name beside the file that it becomes.

A process that is killed leaves it behind, and whoever next writes the same file removes it. To tell
the two apart each is locked, and the system drops the lock with the process. On Windows, and on a
drive without locks, nothing can be told: it stays there, and no other is ever touched.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import sys
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from samclip_sdk.errors import StorageError, one_line

PARTIAL_ENDING = ".partial"

SLOTS = 16
"""So many processes may write one file at once; each has a name of its own."""


class PartialFile:
    """An empty file beside `target`, open for writing; `close` removes it unless it was settled.

    Args:
        target: what it becomes; its folder must exist.
        ending: of its name, for libraries that look at that.

    Attributes:
        path: where it is.
        file: to write to, or to leave alone while a library writes to `path`.

    Raises:
        StorageError: `SLOTS` others are writing the same file.
        OSError: the folder cannot be written.
    """

    def __init__(self, target: Path, *, ending: str = "") -> None:
        self._target = target
        self._settled = False
        self.path, self.file = _open(target, ending=ending)

    def settle(self) -> None:
        """Puts the file, all of which must be on the disk, into the place of the target.

        Raises:
            OSError: it cannot be put there.
        """
        if sys.platform == "win32":  # where no open file can be renamed
            self.file.close()
        os.replace(self.path, self._target)
        self._settled = True

    def close(self) -> None:
        """Closes the file; unless it is settled, it is removed."""
        if sys.platform == "win32":  # nor removed
            self.file.close()
        if not self._settled:
            with suppress(OSError):
                self.path.unlink()  # before the lock is dropped, so that the name is still ours
        with suppress(OSError):  # of what could not be written
            self.file.close()


def _open(target: Path, *, ending: str) -> tuple[Path, BinaryIO]:
    """Removes what dead processes left of a target, and opens a new file."""
    paths = [_path(target, f"{slot}", ending=ending) for slot in range(SLOTS)]
    for path in paths:
        remove_if_dead(path)
    for path in paths:
        try:
            file = path.open("xb")
        except FileExistsError:
            continue
        try:
            if _lock(file.fileno()) and _is_at(file.fileno(), path):
                return path, file
        except OSError:  # There are no locks here.
            path.unlink()
            file.close()
            free = _path(target, secrets.token_hex(8), ending=ending)
            return free, free.open("xb")
        file.close()  # Another process took it for one that was left.
    raise StorageError(f"cannot write {one_line(target)}: {SLOTS} others are writing it just now")


def _path(target: Path, slot: str, *, ending: str) -> Path:
    # A digest, for a name may be as long as the file system takes.
    digest = hashlib.sha256(os.fsencode(target.name)).hexdigest()[:16]
    return target.with_name(f".{digest}.{slot}{PARTIAL_ENDING}{ending}")


def remove_if_dead(path: Path) -> None:
    """Removes a file whose lock can be taken: nobody is writing it."""
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
        try:
            if _lock(descriptor) and _is_at(descriptor, path):
                path.unlink()
        finally:
            os.close(descriptor)


def _lock(descriptor: int) -> bool:
    """Locks an open file, unless another process has.

    Raises:
        OSError: there are no locks here.
    """
    if sys.platform == "win32":
        raise OSError("Windows locks no file that is to be renamed")
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether an open file is what a path leads to: it may have been moved or removed."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.lstat(path))
    except FileNotFoundError:
        return False
