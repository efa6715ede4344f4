"""The progress bar of the commands of training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column

from samclip_sdk.cli.terminal import PlainProgress
from samclip_sdk.system.progress import OnProgress


@contextmanager
def drawn_progress() -> Iterator[OnProgress]:
    """A bar on the error output once there is something to show, or lines without a terminal."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield PlainProgress(console).show
        return
    progress = Progress(
        BarColumn(20),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.description}", table_column=Column(ratio=1, no_wrap=True)),
        console=console,
        expand=True,
    )

    def show(message: str, done: int, total: int) -> None:
        if not progress.tasks:
            progress.start()
            progress.add_task("", total=total, completed=done)
        bar = progress.tasks[0]
        if total != bar.total:  # another piece of work
            progress.reset(bar.id, total=total)
        progress.update(bar.id, description=escape(message), completed=done)

    try:
        yield show
    finally:
        if progress.tasks:
            progress.stop()
