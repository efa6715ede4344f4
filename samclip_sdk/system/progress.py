"""The callback that long work tells its progress."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

OnProgress: TypeAlias = Callable[[str, int, int], None]
"""Told a message, how many parts of the work are done, and how many it has."""


def no_progress(message: str, done: int, total: int) -> None:
    """Shows no progress."""
