"""Folders that appear whole or not at all, and what a killed process leaves of them."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from filelock import BaseFileLock, FileLock

from samclip_sdk.errors import StorageError, one_line

_SCRATCH = re.compile(r"(\.(?P<target>.+)\.[0-9a-f]{16})\.(partial|lock)", re.DOTALL)
_OLD = "old"


@contextmanager
def atomic_folder(out: Path) -> Iterator[Path]:
    """Yields an empty folder that replaces `out` at the end; after any error `out` is as it was.

    Args:
        out: where the folder goes. A symbolic link there is replaced, not what it leads to.

    Raises:
        StorageError: the folder cannot be written, for instance because the disk is full.
    """
    with scratch_folder(out) as scratch:
        new = scratch / "new"
        new.mkdir()
        yield new
        with suppress(FileNotFoundError):
            os.rename(out, scratch / _OLD)
        os.rename(new, out)


@contextmanager
def scratch_folder(target: Path) -> Iterator[Path]:
    """Yields an empty folder beside `target`, for what is to be moved there; gone afterwards.

    It is beside, so that a move never crosses file systems. A process that is killed leaves it
    behind, and the next one that makes a scratch folder in the same place removes it. To tell the
    two apart each has a lock, which is taken before the folder is there, and which the system drops
    with the process, whatever machine or container that ran on: if the lock can be taken, the
    folder is a dead process's. On a drive without locks none can be, and the folder stays.

    Raises:
        StorageError: the folder cannot be written, for instance because the disk is full.
    """
    scratch = target.with_name(f".{target.name}.{secrets.token_hex(8)}.partial")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        sweep(target.parent)
        lock = _lock_of(scratch)
        _take(lock)
        try:
            scratch.mkdir()
            yield scratch
        finally:
            _discard(scratch, target)
            _drop(lock)
    except OSError as error:
        raise StorageError(f"cannot write {one_line(target)}: {error.strerror or error}") from error


def settle(folder: Path, target: Path) -> None:
    """Moves a folder into its place in a cache, unless another process was first: that one stays.

    A file in its place, or a link that leads nowhere, makes room.

    Raises:
        OSError: it cannot be moved.
    """
    if os.path.lexists(target) and not os.path.isdir(target):
        os.unlink(target)
    try:
        os.rename(folder, target)
    except OSError:
        if not os.path.isdir(target):
            raise


@contextmanager
def taking_turns(path: Path) -> Iterator[None]:
    """Lets one process or thread at a time do something with a file, where the drive has locks.

    The file itself is locked, so that none is left of it.
    """
    with ExitStack() as stack:
        with suppress(OSError):
            _wait_for(path, stack)
        yield


def _wait_for(path: Path, stack: ExitStack) -> None:
    if sys.platform == "win32":  # Nobody else could read the file meanwhile.
        return
    import fcntl

    file = stack.enter_context(path.open("rb"))
    fcntl.flock(file, fcntl.LOCK_EX)
    # A child that was forked meanwhile has the open file too, and would keep the lock.
    stack.callback(fcntl.flock, file, fcntl.LOCK_UN)


def sweep(folder: Path) -> None:
    """Removes the scratch folders in `folder` that dead processes have left, and their locks."""
    with suppress(OSError):
        names = filter(None, map(_SCRATCH.fullmatch, os.listdir(folder)))
        for scratch, target in {(f"{name[1]}.partial", name["target"]) for name in names}:
            _sweep_one(folder / scratch, folder / target)


def _sweep_one(scratch: Path, target: Path) -> None:
    lock = _lock_of(scratch)
    kept = scratch.is_symlink() or (scratch.exists() and not scratch.is_dir())
    if kept or _size_bytes(lock.lock_file):  # Ours are empty.
        return
    if _take(lock):
        _discard(scratch, target)
        _drop(lock)


def _discard(scratch: Path, target: Path) -> None:
    """Removes a scratch folder. What it took the place of comes back if nothing else is there."""
    old = scratch / _OLD
    if os.path.lexists(old) and not os.path.lexists(target):
        try:
            os.rename(old, target)
        except OSError:
            return  # It is the only copy.
    shutil.rmtree(scratch, ignore_errors=True)


def _lock_of(scratch: Path) -> BaseFileLock:
    return FileLock(scratch.with_suffix(".lock"))


def _size_bytes(path: str) -> int:
    return os.path.getsize(path) if os.path.exists(path) else 0


def _take(lock: BaseFileLock) -> bool:
    """Takes a lock unless another process has it, or the drive has no locks."""
    try:
        lock.acquire(blocking=False)
    except (OSError, NotImplementedError):
        return False
    return True


def _drop(lock: BaseFileLock) -> None:
    """Removes a lock that nobody will ask for again, and gives it up."""
    with suppress(OSError):
        os.unlink(lock.lock_file)
    lock.release()
