"""Keeps native libraries from writing to the terminal, where no setting of theirs does."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

_STDERR = 2


@contextmanager
def quiet_stderr() -> Iterator[None]:
    """Sends what native code writes to stderr nowhere."""
    try:
        kept = os.dup(_STDERR)
    except OSError:  # it is closed, so that nothing can be written
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, _STDERR)
    try:
        yield
    finally:
        os.dup2(kept, _STDERR)
        os.close(kept)
        os.close(nowhere)
