"""`python -m tests.fuzz`: runs the fuzzers, shows how far they are, and tells what came of it."""

from __future__ import annotations

import time
from functools import partial
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table

from tests.fuzz.campaign import Tally, run_subject
from tests.fuzz.subjects import SUBJECTS, shares

SHOWN = 20  # failures of a subject


def main(
    cases: Annotated[int, typer.Option(min=1, help="of all subjects together")] = 2000,
    seed: Annotated[int, typer.Option(help="of the cases: the same seed, the same cases")] = 0,
    subject: Annotated[str | None, typer.Option(help=f"one of {', '.join(SUBJECTS)}")] = None,
    case: Annotated[int | None, typer.Option(help="the number of one case, to repeat it")] = None,
) -> None:
    """Give the package what nobody should give it; fail if it breaks a promise."""
    if subject not in (None, *SUBJECTS):
        raise typer.BadParameter(f"there is no {subject}, only {', '.join(SUBJECTS)}")
    counts = {subject: cases} if subject else shares(cases)
    console = Console()
    start = time.perf_counter()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=console) as progress:
        tallies = []
        for name, count in counts.items():
            indices = range(count) if case is None else range(case, case + 1)
            show = partial(_show, progress, progress.add_task(name, total=len(indices)))
            tally = run_subject(
                name, opened=SUBJECTS[name], indices=indices, seed=seed, on_case=show
            )
            tallies.append(tally)
    _print(console, tallies, seed=seed, seconds=time.perf_counter() - start)
    if any(tally.failures for tally in tallies):
        raise typer.Exit(1)


def _show(progress: Progress, task: TaskID, tally: Tally) -> None:
    progress.update(task, completed=tally.cases)


def _print(console: Console, tallies: list[Tally], *, seed: int, seconds: float) -> None:
    table = Table("subject", "cases", "answers", "refusals", "failures")
    rows = [(t.subject, t.cases, t.answers, t.refusals, len(t.failures)) for t in tallies]
    total = ("all", *(sum(row[column] for row in rows) for column in range(1, 5)))
    for row in [*rows, total]:
        table.add_row(*map(str, row))
    console.print(table)
    console.print(f"seed {seed}, {seconds:.0f} s")
    for tally in tallies:
        for index, what, why in tally.failures[:SHOWN]:
            again = f"--subject {tally.subject} --seed {seed} --case {index}"
            line = f"{tally.subject}: {what}\n    {why}\n    again: python -m tests.fuzz {again}"
            console.print(line, markup=False, highlight=False, soft_wrap=True)


if __name__ == "__main__":
    typer.run(main)
