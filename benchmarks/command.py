"""What the commands have in common: one way to fail, one place for a record."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.pages import RECORDS, ROOT, write_pages
from benchmarks.record import Record, describe_environment, describe_model, write_record
from samclip_sdk import SamClip
from samclip_sdk.cli.terminal import WrongUsageError
from samclip_sdk.errors import SamClipError

RUNS = Path("runs")
_MENDABLE = (SamClipError, WrongUsageError, OSError, ValueError, FloatingPointError, ImportError)

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
    except _MENDABLE as error:
        typer.echo(f"error: {' '.join(str(error).split())}", err=True)
        raise typer.Exit(1) from error


@dataclass
class Measurement:
    """A command that measures: where its record goes, and since when it measures."""

    place: Path
    write: bool
    since: float

    def run(self, samclip: SamClip | None = None) -> dict[str, Any]:
        """The fields of a `Run`: where and when it was measured, how long that took; and the model.

        Asked again, it tells of what was measured since.
        """
        now = time.perf_counter()
        seconds, self.since = round(now - self.since, 1), now
        model = {"model": describe_model(samclip.manifest, samclip.source)} if samclip else {}
        return {"environment": describe_environment(), "seconds": seconds, **model}

    def finish(self, record: Record, tables: str) -> None:
        """Keeps a record, prints its tables, says where it is, and publishes it if asked to."""
        write_record(record, self.place)
        typer.echo(tables)
        typer.echo(f"The record is in {self.place}.", err=True)
        if self.write:
            for path in write_pages(ROOT):
                typer.echo(f"Written: {path}", err=True)


@contextmanager
def measurement(name: str, *, output: Path | None, write: bool = False) -> Iterator[Measurement]:
    """Runs a command that measures; where its record goes is settled first.

    So hours of measuring do not end in an error. The record is called `name`; it goes to `output`
    as the user gave it, or to docs/benchmarks with `write`, or else to `runs`.
    """
    with one_line_errors():
        if write and output is not None:
            raise ValueError("--output and --write each name a place for the record: give one")
        if output is None and not write:
            RUNS.mkdir(exist_ok=True)
        place = output or (ROOT / RECORDS if write else RUNS) / f"{name}.json"
        if not place.absolute().parent.is_dir():
            raise ValueError(f"the folder of {place} does not exist")
        yield Measurement(place, write, time.perf_counter())
