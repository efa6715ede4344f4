"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from samclip_sdk.errors import StorageError, one_line
from samclip_sdk.system.leftovers import discard, hidden_path, sweep_once


@contextmanager
def atomic_file(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Opens a file for writing that replaces `path` only once all of it is on the disk.

    The data goes to a hidden file beside the target, see `leftovers`. After any error the hidden
    file is gone and an older `path` is untouched.

    Args:
        path: where the file goes; its folder must exist. A symbolic link is written through.

    Yields:
        The open binary file.

    Raises:
        StorageError: `check_target` refuses the path, or the file cannot be written, for instance
            because the disk is full.
    """
    target = check_target(path)
    sweep_once(target.parent)
    # Not tempfile: its files are readable by their owner only, and a rename keeps the mode.
    hidden = hidden_path(target)
    try:
        with hidden.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(hidden, target)
    except OSError as error:
        raise StorageError(f"cannot write {one_line(path)}: {error.strerror or error}") from error
    finally:
        discard(hidden)


def check_target(path: str | os.PathLike[str]) -> Path:
    """Checks the place of a file for `atomic_file`, before any work is done for it.

    A rename replaces whatever is there, a device or a pipe too: a program that runs as root and
    writes to /dev/null would replace it for the whole machine.

    Args:
        path: where the file is to go.

    Returns:
        The path with its symbolic links resolved.

    Raises:
        StorageError: something other than a regular file is there, the folder is missing or cannot
            be written, no file can have such a name, or it is no path.
    """
    _check_path(path)
    try:
        target = Path(os.path.realpath(path))
        kind = _kind(path)
    except (OSError, ValueError) as error:  # ValueError: NUL, or what no file system can encode.
        raise _refused(path, getattr(error, "strerror", None) or str(error)) from error
    if kind == stat.S_IFDIR:
        raise _refused(path, "it is a folder")
    if kind not in (None, stat.S_IFREG):
        raise _refused(path, "it is a device or a pipe; give the name of a file")
    if not target.parent.is_dir():
        raise _refused(path, f"there is no folder {one_line(target.parent)}")
    if not os.access(target.parent, os.W_OK):
        raise _refused(path, f"the folder {one_line(target.parent)} cannot be written")
    return target


def check_suffix(path: str | os.PathLike[str], *suffixes: str) -> str:
    """The suffix of a path in lower case, which must be one of `suffixes`.

    Raises:
        StorageError: the path has another suffix, or it is no path.
    """
    _check_path(path)
    suffix = Path(path).suffix.lower()
    if suffix not in suffixes:
        *others, last = suffixes
        known = f"{', '.join(others)} or {last}" if others else last
        raise _refused(path, f"it must end in {known}")
    return suffix


def _check_path(path: object) -> None:
    # A number would be taken for an open file, and None would look like a mistake of ours.
    if not isinstance(path, (str, os.PathLike)):
        kind = type(path).__name__
        raise _refused(path, f"a file's path is text or a Path, not {kind}")


def _kind(path: str | os.PathLike[str]) -> int | None:
    """The kind of file at `path`, links followed; None if nothing is there."""
    try:
        return stat.S_IFMT(os.stat(path).st_mode)
    except FileNotFoundError:
        return None


def _refused(path: object, reason: str) -> StorageError:
    return StorageError(f"cannot write {one_line(path)}: {reason}")
