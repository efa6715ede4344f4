"""A folder that appears whole or not at all."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from samclip_sdk.errors import StorageError


@contextmanager
def atomic_folder(out: Path) -> Iterator[Path]:
    """Yields an empty folder that replaces `out` at the end; after any error `out` is as it was.

    The work is done beside `out`, so that the final rename never crosses file systems.

    Raises:
        StorageError: the folder cannot be written, for instance because the disk is full.
    """
    token = secrets.token_hex(8)
    partial = out.with_name(f".{out.name}.{token}.partial")
    retired = out.with_name(f".{out.name}.{token}.retired")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        partial.mkdir()
        yield partial
        if out.exists():
            os.rename(out, retired)
        try:
            os.rename(partial, out)
        except OSError:
            if retired.exists():
                os.rename(retired, out)
            raise
    except OSError as error:
        raise StorageError(f"cannot write {out}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        shutil.rmtree(retired, ignore_errors=True)
