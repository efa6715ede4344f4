"""Folders that appear whole or not at all."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from samclip_sdk.errors import StorageError, one_line
from samclip_sdk.system.leftovers import REPLACED, discard, hidden_path, sweep


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
        (scratch / REPLACED).mkdir()
        with suppress(FileNotFoundError):
            os.rename(out, scratch / REPLACED / out.name)
        os.rename(new, out)


@contextmanager
def scratch_folder(target: Path) -> Iterator[Path]:
    """Yields an empty hidden folder beside `target`, whose files are moved out; gone afterwards.

    A killed process leaves it behind; the next scratch folder in the same place removes that.

    Raises:
        StorageError: the folder cannot be written, for instance because the disk is full.
    """
    scratch = hidden_path(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        sweep(target.parent)
        scratch.mkdir()
        try:
            yield scratch
        finally:
            discard(scratch)
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
    """Lets one process or thread at a time work with a file or folder, where the drive has locks.

    It is locked itself, so that no lock file stays behind. It must not be replaced meanwhile: who
    comes later would lock what took its place.
    """
    with ExitStack() as stack:
        with suppress(OSError):
            _wait_for(path, stack)
        yield


def _wait_for(path: Path, stack: ExitStack) -> None:
    if sys.platform == "win32":  # Nobody else could read the file meanwhile.
        return
    import fcntl

    descriptor = os.open(path, os.O_RDONLY)
    stack.callback(os.close, descriptor)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    # A child that was forked meanwhile has the open file too, and would keep the lock.
    stack.callback(fcntl.flock, descriptor, fcntl.LOCK_UN)
