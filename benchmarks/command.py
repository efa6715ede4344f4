"""What the commands have in common: one way to fail, one place for a record."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.pages import RECORDS, ROOT, write_pages
from benchmarks.record import Record, write_record
from samclip_sdk.errors import SamClipError

RUNS = Path("runs")

ModelName = Annotated[str, typer.Option(help="an embedded bundle's name, a bundle, a checkpoint")]
Runtime = Annotated[str, typer.Option(help="onnx, openvino, ..., or torch for a checkpoint")]
Seed = Annotated[int, typer.Option(min=0)]
Output = Annotated[
    Path | None, typer.Option(help="where the record goes, JSON; by default into the folder runs")
]
Write = Annotated[
    bool,
    typer.Option("--write", help="publish: write the record, and the pages that show it, to docs"),
]


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Ends a command in one line on standard error, whatever it raises that a person can mend."""
    try:
        yield
    except (SamClipError, OSError, ValueError, FloatingPointError, ImportError) as error:
        typer.echo(f"error: {' '.join(str(error).split())}", err=True)
        raise typer.Exit(1) from error


def find_place(name: str, *, output: Path | None, write: bool) -> Path:
    """Where a command's record goes; asked before any work, so that hours do not end in an error.

    Args:
        name: of the record, "speed" for instance.
        output: as the user gave it.
        write: whether it is published, and not kept in `runs`.

    Raises:
        ValueError: both were asked for, or there is no such folder.
    """
    if write:
        if output is not None:
            raise ValueError("--output and --write each name a place for the record: give one")
        return ROOT / RECORDS / f"{name}.json"
    if output is None:
        RUNS.mkdir(exist_ok=True)
        return RUNS / f"{name}.json"
    if not output.absolute().parent.is_dir():
        raise ValueError(f"the folder of {output} does not exist")
    return output


def finish(record: Record, tables: str, *, place: Path, write: bool) -> None:
    """Keeps a record, prints its tables, says where the record is, and publishes it if asked to."""
    write_record(record, place)
    typer.echo(tables)
    typer.echo(f"The record is in {place}.", err=True)
    if write:
        for path in write_pages(ROOT):
            typer.echo(f"Written: {path}", err=True)
