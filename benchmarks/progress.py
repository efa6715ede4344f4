"""A progress bar for a measurement; the result alone goes to standard output."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

import rich.progress
from rich.console import Console


def track(items: Iterable[Any], description: str, *, total: int | None = None) -> Iterable[Any]:
    """Shows how far one is among items, `total` of them; one bar at a time, on a terminal."""
    console, hidden = Console(stderr=True), not sys.stderr.isatty()
    return rich.progress.track(items, description, total=total, console=console, disable=hidden)
