"""What a suite, or a part of one, finds."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer
from typer.testing import CliRunner

from benchmarks.__main__ import app
from benchmarks.pages import render
from benchmarks.suite import measuring
from benchmarks.table import Part, Row, Table, describe_run, read_table


def run(*words: object) -> tuple[int, str]:
    """The exit code of a command, and what it said."""
    done = CliRunner().invoke(app, [str(each) for each in words])
    return done.exit_code, done.output


def found_by(path: Path, *words: object) -> Part:
    """The last run of a command that goes well, whose figures go to a place."""
    code, said = run(*words, "--output", path)
    assert code == 0, said
    return read_table(path).parts[-1]


def measure(work: Callable[..., Any], *arguments: Any, suite: str = "toy", **options: Any) -> Part:
    """Gives a function a `Measuring` and the rest; returns the last run that it wrote.

    What it raises comes out as it is, and not as the end of a command.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"{suite}.jsonl")
        try:
            with measuring(suite, output=path, settings={}) as measured:
                work(measured, *arguments, **options)
        except typer.Exit as ended:
            raise ended.__cause__ or ended from None
        return read_table(path).parts[-1]


def part_of(suite: str, *rows: dict[str, Any], **settings: Any) -> Part:
    """A part as a run of a suite could leave it."""
    run = describe_run(suite).model_copy(update={"settings": settings})
    return Part.of(run, [Row(suite=suite, **each) for each in rows])


def shown(template: str, part: Part) -> str:
    """What a template makes of a part."""
    return render(template, lambda suite: {part.run.suite: Table((part,))}[suite])


def cells(text: str, first: str) -> list[str]:
    """The cells behind the first one of the row that begins with it."""
    (row,) = (line for line in text.splitlines() if line.startswith(f"| {first} |"))
    return [each.strip() for each in row.split("|")[2:-1]]
