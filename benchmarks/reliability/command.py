"""`python -m benchmarks reliability`: the campaigns, each of a size that is asked for.

A part of the record is written as soon as it is measured, and rows that an earlier run has measured
stay: what was stopped is asked for again, by name.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

from benchmarks.command import Measurement, Output, Seed, Write, measurement
from benchmarks.record import Run, write_record
from benchmarks.reliability.kills import KilledCommand, kill_often
from benchmarks.reliability.memory import LongRun, Sample, VerbMemory, measure_memory, run_annotate
from benchmarks.reliability.questions import LABELS, VERBS, write_pictures
from benchmarks.reliability.record import (
    BAR_CALLS,
    BAR_KILLS,
    Reliability,
    read_or_begin,
    render,
    replace_row,
)
from benchmarks.reliability.serving import run_serve
from benchmarks.reliability.threads import PICTURES, ThreadsRun, run_threads
from benchmarks.reliability.victims import TINY_BUNDLE, VICTIMS
from benchmarks.report import join_tables
from samclip_sdk import SamClip

ModelPath = Annotated[str, typer.Option(help="an embedded bundle's name, or a bundle")]
OnProgress = Callable[[int, int], None]

reliability = typer.Typer(
    no_args_is_help=True, help="Threads, memory, kills and long runs: see docs/reliability.md."
)


@reliability.command()
def threads(
    size: Annotated[int, typer.Option(min=1, help="calls of all threads together")] = 100_000,
    threads: Annotated[int, typer.Option(min=1, help="that ask at once")] = 8,
    model: ModelPath = str(TINY_BUNDLE),
    seed: Seed = 0,
    output: Output = None,
    write: Write = False,
) -> None:
    """Asks one model from many threads, and compares every answer with the one alone."""
    with _recorded(output, write) as (measured, record), _bar("threads") as on_progress:
        asked = {"threads": threads, "calls": size, "seed": seed, "on_progress": on_progress}
        answers, failed = run_threads(partial(_load, model), **asked)
        found = ThreadsRun(
            **measured.run(_load(model)),
            threads=threads,
            pictures=PICTURES,
            seed=seed,
            verbs=tuple(answers),
            failed=failed,
        )
        write_record(record.model_copy(update={"threads": found}), measured.place)


@reliability.command()
def memory(
    size: Annotated[int, typer.Option(min=1, help="calls of each verb")] = BAR_CALLS,
    verb: Annotated[list[str] | None, typer.Option(help="by default each; repeatable")] = None,
    warm_up: Annotated[int, typer.Option(min=0, help="calls before the first sample")] = 500,
    model: ModelPath = str(TINY_BUNDLE),
    seed: Seed = 0,
    output: Output = None,
    write: Write = False,
) -> None:
    """Calls each verb over and over, and samples memory, file handles and threads."""
    with _recorded(output, write) as (measured, record), _load(model) as loaded:
        for each in _known(verb, VERBS):
            with _bar(each) as on_progress:
                asked = {"calls": size, "warm_up": warm_up, "seed": seed}
                samples = measure_memory(loaded, each, **asked, on_progress=on_progress)
            run = measured.run(loaded)
            row = VerbMemory(**run, verb=each, **asked, samples=tuple(samples))
            record = _keep(measured, record, "memory", row, key="verb")


@reliability.command()
def kills(
    size: Annotated[int, typer.Option(min=1, help="moments, of all commands")] = BAR_KILLS,
    command: Annotated[list[str] | None, typer.Option(help="by default each; repeatable")] = None,
    seed: Seed = 0,
    output: Output = None,
    write: Write = False,
) -> None:
    """Kills commands at random moments, and compares what restarts end with, byte for byte."""
    with _recorded(output, write) as (measured, record):
        names = _known(command, [each.name for each in VICTIMS])
        for place, name in enumerate(names):
            victim = next(each for each in VICTIMS if each.name == name)
            moments = (size + place) // len(names)  # which add up to the size
            with _bar(name) as on_progress, tempfile.TemporaryDirectory() as scratch:
                alone_s, early, restarts, faults = kill_often(
                    victim, Path(scratch) / name, kills=moments, seed=seed, on_progress=on_progress
                )
            row = KilledCommand(
                **measured.run(),
                command=name,
                seed=seed,
                kills=moments,
                early=early,
                alone_s=round(alone_s, 2),
                restarts=restarts,
                whole=restarts - len(faults),
                faults=tuple(faults),
            )
            record = _keep(measured, record, "kills", row, key="command")


@reliability.command("long-run")
def long_run(
    pictures: Annotated[int, typer.Option(min=0, help="to make and annotate")] = 20_000,
    minutes: Annotated[float, typer.Option(min=0, help="to serve for")] = 30.0,
    model: ModelPath = str(TINY_BUNDLE),
    seed: Seed = 0,
    output: Output = None,
    write: Write = False,
) -> None:
    """Annotates a large folder, then serves; samples memory, file handles and threads.

    With 0 pictures or 0 minutes that part is left out, and stays as it was recorded.
    """
    with _recorded(output, write) as (measured, record), _load(model) as loaded:
        parts: list[tuple[str, str, Callable[[], list[Sample]]]] = []
        if pictures:
            annotate = partial(_annotate, loaded, pictures, seed=seed)
            parts.append((f"annotate, {pictures:,} pictures", "picture", annotate))
        if minutes:
            serve = partial(_serve, model, minutes=minutes, seed=seed)
            parts.append((f"serve, {minutes:g} minutes", "minute", serve))
        for work, unit, sample in parts:
            samples = tuple(sample())
            row = LongRun(**measured.run(loaded), work=work, unit=unit, samples=samples)
            record = _keep(measured, record, "long_runs", row, key="unit")


def _annotate(model: SamClip, pictures: int, *, seed: int) -> list[Sample]:
    with tempfile.TemporaryDirectory() as scratch:
        folder, output = Path(scratch) / "pictures", Path(scratch) / "out.json"
        with _bar("making pictures") as on_progress:
            made = write_pictures(folder, pictures, seed=seed, size=(64, 48))
            for count, _ in enumerate(made, 1):
                on_progress(count, pictures)
        with _bar("annotating") as on_progress:
            return run_annotate(model, folder, output, labels=LABELS, on_progress=on_progress)


def _serve(model: str, *, minutes: float, seed: int) -> list[Sample]:
    with _bar("serving") as on_progress:
        asked = {"labels": LABELS, "minutes": minutes, "seed": seed}
        return run_serve(model, **asked, on_progress=on_progress)


@contextmanager
def _recorded(output: Path | None, write: bool) -> Iterator[tuple[Measurement, Reliability]]:
    """The record as it is, and at the end its tables."""
    with measurement("reliability", output=output, write=write) as measured:
        yield measured, read_or_begin(measured.place)
        record = read_or_begin(measured.place)
        measured.finish(record, join_tables(render(record)))


def _keep(
    measured: Measurement, record: Reliability, part: str, row: Run, *, key: str
) -> Reliability:
    """Writes the record with a new row in a part of it."""
    rows = replace_row(getattr(record, part), row, key=key)
    record = record.model_copy(update={part: rows})
    write_record(record, measured.place)
    return record


def _load(model: str) -> SamClip:
    """A model that computes each sum in one order, and keeps nothing on the disk."""
    return SamClip.load("onnx", model=model, precision="fp32", threads=1, text_cache=False)


def _known(names: Sequence[str] | None, known: Sequence[str]) -> list[str]:
    """Those that were asked for, each once; all if none was."""
    unknown = sorted(set(names or ()) - set(known))
    if unknown:
        raise ValueError(f"there is no {', '.join(unknown)}: give some of {', '.join(known)}")
    return list(dict.fromkeys(names or known))


@contextmanager
def _bar(name: str) -> Iterator[OnProgress]:
    """A bar on standard error; what it yields is told how much is done, of how much."""
    shown = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*shown, console=Console(stderr=True)) as progress:
        task = progress.add_task(name, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
