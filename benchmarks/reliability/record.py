"""reliability.json: what was held against what, and the tables of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from benchmarks.record import Record, Run, read_record
from benchmarks.reliability.kills import KilledCommand
from benchmarks.reliability.memory import (
    LongRun,
    VerbMemory,
    growth_mb,
    more_handles,
    more_threads,
    slope_mb,
)
from benchmarks.reliability.threads import ThreadsRun, VerbAnswers
from benchmarks.report import columns, table

MAX_GROWTH_MB = 5
BAR_CALLS = 10_000
BAR_KILLS = 200

Row = TypeVar("Row", bound=Run)


class Reliability(Record):
    """Each part is what its command measured last; rows of one name replace each other."""

    threads: ThreadsRun | None = None
    memory: tuple[VerbMemory, ...] = ()
    kills: tuple[KilledCommand, ...] = ()
    long_runs: tuple[LongRun, ...] = ()


def read_or_begin(path: Path) -> Reliability:
    """The record at a path, or an empty one."""
    return read_record(Reliability, path) if path.exists() else Reliability()


_THREADS: dict[str, Callable[[VerbAnswers], str]] = {
    "verb": lambda row: f"`{row.verb}`",
    "calls": lambda row: f"{row.calls:,}",
    "answers other than alone": lambda row: f"{row.other:,}",
}
_HELD: dict[str, Callable[[Any], str]] = {
    "handles": lambda row: f"{more_handles(row.samples):+d}",
    "threads": lambda row: f"{more_threads(row.samples):+d}",
}
_MEMORY: dict[str, Callable[[VerbMemory], str]] = {
    "verb": lambda row: f"`{row.verb}`",
    "calls": lambda row: f"{row.calls:,}",
    "growth, MB": lambda row: f"{growth_mb(row.samples):.1f}",
    "fit, MB a 1,000 calls": lambda row: f"{1000 * slope_mb(row.samples):.3f}",
    **_HELD,
}
_KILLS: dict[str, Callable[[KilledCommand], str]] = {
    "command": lambda row: row.command,
    "length, s": lambda row: f"{row.alone_s:.1f}",
    "kills": lambda row: f"{row.kills}",
    "ended before": lambda row: f"{row.early}",
    "restarts": lambda row: f"{row.restarts}",
    "whole": lambda row: f"{row.whole}",
}
_LONG_RUNS: dict[str, Callable[[LongRun], str]] = {
    "work": lambda row: row.work,
    "memory, MB": lambda row: f"{row.samples[-1].rss_mb:.0f}",
    "growth, MB": lambda row: f"{growth_mb(row.samples):.1f}",
    "fit": lambda row: f"{1000 * slope_mb(row.samples):.1f} kB a {row.unit}",
    **_HELD,
}


def render(record: Reliability) -> dict[str, str]:
    """The page's tables by their markers; what was not measured says by which command it is."""
    asked = faults = ""
    if run := record.threads:
        asked = f"{run.model.text} on {run.model.runtime}; {run.pictures} pictures, seed {run.seed}"
    wrong = [f"* {row.command}: {each}" for row in record.kills for each in row.faults]
    if wrong:
        faults = "\n".join(["What was wrong:\n", *wrong, "\n"])
    answers = run.verbs if run else ()
    return {
        "reliability": _bars(record),
        "reliability_threads": _part("threads", answers, _THREADS, [run], note=f"{asked}; "),
        "reliability_memory": _part("memory", record.memory, _MEMORY, record.memory),
        "reliability_kills": _part("kills", record.kills, _KILLS, record.kills, note=faults),
        "reliability_long_runs": _part("long-run", record.long_runs, _LONG_RUNS, record.long_runs),
    }


def _part(
    command: str,
    rows: Sequence[Any],
    cells: dict[str, Callable[[Any], str]],
    runs: Sequence[Run],
    *,
    note: str = "",
) -> str:
    """A table, and below a note on what, when and how it was measured."""
    if not rows:
        return f"Not recorded yet: `python -m benchmarks reliability {command} --write`.\n"
    machines = dict.fromkeys(each.environment.machine for each in runs)
    commands = dict.fromkeys(f"`{each.environment.command}`" for each in runs)
    how = f"{'; '.join(machines)}. Measured by {'; '.join(commands)}."
    return f"{columns(rows, cells, words=1)}\n\n{note}{how}\n"


def _bars(record: Reliability) -> str:
    """A row for each bar that was measured."""
    rows = []
    if threads := record.threads:
        rows.append(
            (
                f"{threads.threads} threads on one model, {threads.calls:,} calls",
                "0 answers other than alone, 0 errors",
                f"{threads.other} answers, {threads.failed} errors",
            )
        )
    if memory := record.memory:
        calls = min(each.calls for each in memory)
        worst = max(memory, key=lambda each: growth_mb(each.samples))
        rows.append(
            (
                f"{calls:,} calls of each of {len(memory)} verbs",
                f"memory grows by {MAX_GROWTH_MB} MB or less",
                f"{growth_mb(worst.samples):.1f} MB at most, of `{worst.verb}`",
            )
        )
    if kills := record.kills:
        names = ", ".join(each.command for each in kills)
        rows.append(
            (
                f"kill -9 at {sum(each.kills for each in kills)} random moments: {names}",
                "every restart ends with the bytes of an uninterrupted run, and no other file",
                f"{sum(each.whole for each in kills)} of {sum(each.restarts for each in kills)} "
                "restarts",
            )
        )
    rows += [
        (
            f"long run: {each.work}",
            "memory and file handles stay",
            f"{growth_mb(each.samples):+.1f} MB, {more_handles(each.samples):+d} handles",
        )
        for each in record.long_runs
    ]
    if not rows:
        return "Nothing is recorded yet: the commands below measure it.\n"
    return f"{table(('what', 'bar', 'measured'), rows, words=3)}\n"


def replace_row(rows: Sequence[Row], new: Row, *, key: str) -> tuple[Row, ...]:
    """Rows with a new one, in the place of that with the same key."""
    name = getattr(new, key)
    if name in [getattr(each, key) for each in rows]:
        return tuple(new if getattr(each, key) == name else each for each in rows)
    return (*rows, new)
