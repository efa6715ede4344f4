"""Output of the command line: answers on standard output, one-line messages on standard error."""

from __future__ import annotations

import errno
import io
import json
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, TextIO

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Column, Table
from rich.text import Text

from samclip_sdk.errors import SamClipError, SamClipWarning, printable

FAILED = 1
WRONG_USAGE = 2
INTERRUPTED = 130  # as in shells: 128 plus the number of SIGINT
_WIDEST = 10_000
_QUIET_S = 30.0


class WrongUsageError(Exception):
    """Wrong arguments of a command; the message is one line."""


class PlainProgress:
    """Progress in plain lines, for a log file: one now and then, and none of short work.

    Args:
        console: the console of standard error.
        quiet_s: so many seconds at least pass between two lines.
    """

    def __init__(self, console: Console, *, quiet_s: float = _QUIET_S) -> None:
        self._console, self._quiet_s, self._said = console, quiet_s, time.monotonic()

    def show(self, message: str, done: int, total: int) -> None:
        """Prints the progress, if it is time: an `on_progress` callback."""
        now = time.monotonic()
        if now - self._said >= self._quiet_s:
            self._said = now
            _say(self._console, _counted(message, done, total))


def _counted(message: str, done: int, total: int) -> str:
    return f"{message}, {done} of {total}" if total > 1 else message


class Display:
    """The current step of a command: words, and a bar once the number of its parts is known.

    Args:
        console: the console of standard error.
        doing: the first step, in words.
    """

    def __init__(self, console: Console, *, doing: str) -> None:
        self.progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            *map(_IfCounted, (BarColumn(), MofNCompleteColumn())),
            _IfEven(TimeRemainingColumn()),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self.progress.add_task(doing, total=None)
        self._doing, self._done, self._total = doing, 0, 0

    def say(self, doing: str) -> None:
        """Shows a step, in words, whose length is unknown."""
        doing = printable(doing)
        self._doing, self._done, self._total = doing, 0, 0
        self.progress.update(self._task, description=doing, completed=0, total=None)

    def show(self, message: str, done: int, total: int) -> None:
        """Shows the progress of a long step: an `on_progress` callback."""
        message = printable(message)
        if total == self._total and done >= self._done:
            if message != self._doing:
                self.progress.update(self._task, description=message, even=False)
            self.progress.update(self._task, completed=done)
        else:  # Parts that were done before this step must not count as speed.
            self.progress.reset(
                self._task, description=message, completed=done, total=total, even=True
            )
        self._doing, self._done, self._total = message, done, total

    def __str__(self) -> str:
        """The current step, in one line."""
        return _counted(self._doing, self._done, self._total)


class _IfCounted(ProgressColumn):
    """A column that is empty while the number of parts is unknown."""

    def __init__(self, column: ProgressColumn) -> None:
        super().__init__()
        self._column = column

    def render(self, task: Task) -> Any:
        return Text("") if (task.total or 0) <= 1 else self._column.render(task)


class _IfEven(_IfCounted):
    """A column that is also empty if the parts are of several kinds, which take unequal times."""

    def render(self, task: Task) -> Any:
        return super().render(task) if task.fields.get("even") else Text("")


def elapsed(seconds: float) -> str:
    """A time in minutes and seconds, as 4:05."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"


@contextmanager
def _told_now_and_then(display: Display, console: Console) -> Iterator[None]:
    """Has a plain line of the current step and the time so far, however long one step takes."""
    began, over = time.monotonic(), threading.Event()

    def tell() -> None:
        while not over.wait(_QUIET_S):
            _say(console, f"{elapsed(time.monotonic() - began)} {display}")

    thread = threading.Thread(target=tell, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@contextmanager
def working(doing: str, *, if_interrupted: str = "") -> Iterator[Display]:
    """Shows the steps of a command; turns warnings, errors and Ctrl-C into one line each.

    Where there is no terminal, long work has a plain line now and then.

    Args:
        doing: the first step, in words.
        if_interrupted: a hint for the message after Ctrl-C.

    Raises:
        typer.Exit: in place of a SamClipError, a WrongUsageError or a KeyboardInterrupt.
    """
    console = Console(stderr=True)
    display = Display(console, doing=doing)
    # rich before 14.3 prints an empty line after a bar that it does not show.
    bar = display.progress if console.is_terminal else _told_now_and_then(display, console)
    try:
        with warnings_as_lines(partial(_say, console)), bar:
            yield display
    except SamClipError as error:
        _say(console, f"error: {error}")
        raise typer.Exit(FAILED) from error
    except WrongUsageError as error:
        _say(console, f"error: {error}")
        raise typer.Exit(WRONG_USAGE) from error
    except KeyboardInterrupt as error:
        hint = f"; {if_interrupted}" if if_interrupted else ""
        _say(console, f"interrupted: {display}{hint}")
        raise typer.Exit(INTERRUPTED) from error


@contextmanager
def warnings_as_lines(say: Callable[[str], None]) -> Iterator[None]:
    """Gives this package's warnings to `say`, in one line each; others are shown as usual."""

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if issubclass(category, SamClipWarning):
            say(f"warning: {' '.join(str(message).split())}")
        else:
            show_other(message, category, filename, lineno, file, line)

    with warnings.catch_warnings():
        warnings.simplefilter("always", SamClipWarning)
        show_other, warnings.showwarning = warnings.showwarning, show
        yield


def _say(console: Console, message: str) -> None:
    """Prints one line of any length and content."""
    text = Text(printable(" ".join(message.split())))
    console.print(text, highlight=False, soft_wrap=True)


@contextmanager
def _answering() -> Iterator[None]:
    """Tells in one line why standard output cannot be written, such as a full disk.

    Raises:
        OSError: the reader of the pipe is gone; typer then ends without a message.
        typer.Exit: for any other error.
    """
    try:
        if sys.stdout is None:  # as Python has it if the descriptor is closed
            raise OSError(errno.EBADF, "standard output is closed")
        yield
    except OSError as error:
        if error.errno == errno.EPIPE:
            raise
        sys.stdout = io.StringIO()  # or Python writes the rest at its exit, and fails again
        _say(Console(stderr=True), f"error: cannot write the answer: {error.strerror}")
        raise typer.Exit(FAILED) from error


def _shown(text: str) -> str:
    """One line of characters that standard output can encode; for others it holds their codes."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    return printable(text).encode(encoding, "backslashreplace").decode(encoding)


@_answering()
def print_line(text: str) -> None:
    """Prints one line of an answer with any content."""
    typer.echo(_shown(text))


@_answering()
def print_json(content: dict[str, Any] | str) -> None:
    """Prints a dictionary or JSON as one line of JSON without control characters."""
    text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
    if text != _shown(text):
        text = "".join(each if " " <= each <= "~" else json.dumps(each)[1:-1] for each in text)
    typer.echo(text)


@_answering()
def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Prints a table of plain text, each cell in one line; it is wrapped on a terminal only."""
    console = Console()
    if not console.is_terminal:
        console.width = _WIDEST
    # By default rich cuts words that are longer than their column, such as a pip command.
    table = Table(*(Column(_cell(name), overflow="fold") for name in columns))
    for row in rows:
        table.add_row(*map(_cell, row))
    console.print(table)


def _cell(text: str) -> Text:
    """Plain text, in which rich reads no markup and no names of emoji."""
    return Text(_shown(text))
