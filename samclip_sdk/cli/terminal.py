"""What the command line says: answers on standard output, the rest, one line each, on error."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TextIO

import typer
from rich.console import Console
from rich.markup import escape
from rich.status import Status
from rich.table import Table

from samclip_sdk.errors import SamClipError, SamClipWarning

_SPINNER: ContextVar[Status | None] = ContextVar("spinner", default=None)
"""The one that a command shows."""


@contextmanager
def working(doing: str) -> Iterator[Status]:
    """Shows a spinner; turns this package's warnings and errors into one line each.

    Raises:
        typer.Exit: with code 1, in place of a SamClipError.
    """
    console = Console(stderr=True)

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if issubclass(category, SamClipWarning):
            _say(console, f"warning: {message}")
        else:
            show_other(message, category, filename, lineno, file, line)

    with warnings.catch_warnings():
        warnings.simplefilter("always", SamClipWarning)
        show_other, warnings.showwarning = warnings.showwarning, show
        shown = None
        try:
            with console.status(doing) as status:
                shown = _SPINNER.set(status)
                yield status
        except SamClipError as error:
            _say(console, f"error: {error}")
            raise typer.Exit(1) from error
        finally:
            if shown is not None:
                _SPINNER.reset(shown)


def show_progress(message: str, done: int, total: int) -> None:
    """Shows on the command's spinner what a long step is at: an `on_progress` callback."""
    spinner = _SPINNER.get()
    if spinner is not None:
        spinner.update(f"{message}, {done + 1} of {total}")


def _say(console: Console, message: str) -> None:
    """Prints one line, however long, whatever is in it."""
    console.print(" ".join(message.split()), markup=False, highlight=False, soft_wrap=True)


def print_json(content: dict[str, Any]) -> None:
    """Prints one line of JSON."""
    typer.echo(json.dumps(content, ensure_ascii=False))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Prints a table of plain text."""
    table = Table(*columns)
    for row in rows:
        table.add_row(*(escape(cell) for cell in row))
    Console().print(table)
