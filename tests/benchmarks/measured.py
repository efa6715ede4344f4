"""What a suite, or a part of one, finds."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer

from benchmarks.suite import measuring
from benchmarks.table import Part, read_table


def measure(work: Callable[..., Any], *arguments: Any, **options: Any) -> Part:
    """Gives a function a `Measuring` and the rest; returns the last run that it wrote.

    What it raises comes out as it is, and not as the end of a command.
    """
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder, "toy.jsonl")
        try:
            with measuring("toy", output=place, settings={}) as measured:
                work(measured, *arguments, **options)
        except typer.Exit as ended:
            raise ended.__cause__ or ended from None
        return read_table(place).parts[-1]
