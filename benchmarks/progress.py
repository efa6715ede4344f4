"""A progress bar for a measurement; the result alone goes to standard output."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TypeVar

import rich.progress
from rich.console import Console

Item = TypeVar("Item")


def track(items: Iterable[Item], description: str, *, total: int | None = None) -> Iterable[Item]:
    """Shows how far one is in an iterable; only one at a time, and only on a terminal.

    Args:
        items: what is gone through.
        description: what is being done.
        total: how many there are, where `items` has no length.
    """
    return rich.progress.track(
        items,
        description=description,
        total=total,
        console=Console(stderr=True),
        disable=not sys.stderr.isatty(),
    )
