"""Temporary files of an export, in the folder that it is writing."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def temporary_files_in(folder: Path) -> Iterator[None]:
    """Has whoever makes temporary files make them in a folder, which is removed at the end.

    An export that is killed leaves nothing elsewhere then: what is in its own folder is removed by
    the next one.
    """
    folder.mkdir()
    before, tempfile.tempdir = tempfile.tempdir, str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = before
        shutil.rmtree(folder, ignore_errors=True)
