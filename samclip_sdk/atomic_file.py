"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from samclip_sdk.errors import StorageError


@contextmanager
def atomic_file(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Opens a file for writing that replaces `path` only once all of it is on the disk.

    The data goes to a temporary file beside the target, so that the final rename never crosses
    file systems. After any error the temporary file is gone and an older `path` is untouched.

    Args:
        path: where the file goes; its folder must exist. A symbolic link is written through.

    Yields:
        The open binary file.

    Raises:
        StorageError: the file cannot be written, for instance because the disk is full.
    """
    target = Path(os.path.realpath(path))
    # Not tempfile: its files are readable by their owner only, and a rename keeps the mode.
    partial = target.with_name(f".{secrets.token_hex(8)}.partial")
    try:
        with partial.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, target)
    except OSError as error:
        raise StorageError(f"cannot write {os.fspath(path)}: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            partial.unlink()
