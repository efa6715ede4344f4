"""`python -m benchmarks speed` times subjects, `compare` holds two records against each other."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks.command import Output, Write, find_place, finish, one_line_errors
from benchmarks.record import describe_environment, read_record
from benchmarks.speed.compare import render_comparison
from benchmarks.speed.device import describe_device, describe_state
from benchmarks.speed.measure import measure_subjects
from benchmarks.speed.record import Failure, SeriesPoint, Settings, Speed, SubjectRow
from benchmarks.speed.report import render
from benchmarks.speed.subject import check_spec
from benchmarks.speed.subject_list import (
    FEW_RUNS,
    RUNS,
    SAM_CLIP_TORCH,
    VIT_B,
    main_specs,
    series_specs,
)

Source = Annotated[Path, typer.Argument(help="what speed wrote", exists=True)]


def speed(
    subject: Annotated[
        list[str] | None,
        typer.Option(
            help="measure this one alone: samclip, a peer or module:Class, with arguments behind "
            "commas, such as samclip,model=my-bundle,precision=int8,threads=2; may be given again"
        ),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="all published subjects, not only those of the bars")
    ] = False,
    folder: Annotated[
        Path, typer.Option(help="where the ViT-B bundle is, or is exported to")
    ] = Path("runs/speed"),
    rounds: Annotated[int, typer.Option(help="each opens every subject afresh", min=1)] = 3,
    seconds: Annotated[float, typer.Option(help="to time a workload for, in a round", min=0)] = 2.0,
    at_least: Annotated[int, typer.Option(help="runs; ten of what is below a second", min=1)] = 1,
    at_most: Annotated[int, typer.Option(help="runs, in a round", min=1)] = 200,
    limit: Annotated[
        float, typer.Option(help="seconds after which a run or a load has failed", min=1)
    ] = 900.0,
    baseline: Annotated[
        str | None, typer.Option(help="the key of the subject to compare with")
    ] = None,
    output: Output = None,
    write: Write = False,
) -> None:
    """Times the SDK and its peers on this device, in rounds, each in a process of its own.

    Without a subject it takes those of docs/benchmarks/speed.md: ViT-B at 1024 px and samclip-tiny
    beside their peers. The machine should be idle.
    """
    with one_line_errors():
        _check(subject or (), everything=everything, write=write)
        place = find_place("speed", output=output, write=write)
        settings = Settings(
            rounds=rounds,
            seconds=seconds,
            at_least=at_least,
            at_most=max(at_least, at_most),
            baseline=baseline or (None if subject else SAM_CLIP_TORCH),
        )
        with Console(stderr=True).status("starting") as status:
            how = _How(settings, limit, say=status.update)
            vit_b = folder / VIT_B
            found = (
                how.measure(subject)
                if subject
                else how.measure_published(vit_b, everything=everything)
            )
        finish(found, render(found), place=place, write=write)
        if not found.subjects:
            raise ValueError(f"nothing was measured: {place} says why")


def compare(
    first: Source, second: Annotated[Path, typer.Argument(help="another one", exists=True)]
) -> None:
    """Compares what two runs of speed measured: the second's times as multiples of the first's."""
    with one_line_errors():
        typer.echo(render_comparison(read_record(Speed, first), read_record(Speed, second)))


def _check(specs: Sequence[str], *, everything: bool, write: bool) -> None:
    """Refuses before any work what could not be measured, or would lose published figures.

    Raises:
        ValueError: a subject that is not there, or is there twice; too few to publish.
    """
    for spec in specs:
        check_spec(spec)
    twice = sorted({spec for spec in specs if specs.count(spec) > 1})
    if twice:
        raise ValueError(f"the subject {twice[0]!r} is there twice")
    if specs and everything:
        raise ValueError("--subject and --all each say what to measure: give one")
    if write and not everything:
        raise ValueError("--write needs --all: the page shows every published subject")


@dataclass(frozen=True)
class _How:
    """How subjects are measured: how often, how patiently, and who is told of it."""

    settings: Settings
    limit_s: float
    say: Callable[[str], None]

    def rows(self, specs: Sequence[str]) -> tuple[tuple[SubjectRow, ...], tuple[Failure, ...]]:
        return measure_subjects(
            specs, settings=self.settings, limit_s=self.limit_s, on_progress=self.say
        )

    def measure(self, specs: Sequence[str]) -> Speed:
        """Measures subjects, and nothing beside them."""
        started, device, before = time.perf_counter(), describe_device(), describe_state()
        rows, failures = self.rows(specs)
        settings = self.settings
        if settings.baseline is None and rows:
            settings = settings.model_copy(update={"baseline": rows[0].key})
        return Speed(
            environment=describe_environment(),
            seconds=round(time.perf_counter() - started, 1),
            device=device,
            before=before,
            after=describe_state(),
            settings=settings,
            subjects=rows,
            failures=failures,
        )

    def measure_published(self, vit_b: Path, *, everything: bool) -> Speed:
        """Measures what the page shows, or of that what the bars compare."""
        # Only here: it exports, and so needs torch, which other measurements do without.
        from benchmarks.speed.published import add_machine, prepare_bundle, verify_sets

        started = time.perf_counter()
        prepare_bundle(vit_b, everything=everything, say=self.say)
        tiny_iou = verify_sets(vit_b, runs=RUNS if everything else FEW_RUNS, say=self.say)
        found = self.measure(main_specs(vit_b, everything=everything))
        threads = range(1, 1 + (found.device.usable_cores or found.device.cores))
        rows, failures = self.rows(series_specs(vit_b, threads=threads, everything=everything))
        series = (
            SeriesPoint(subject=row.key, workload=each.workload, spread=each.spread)
            for row in rows
            for each in row.workloads
        )
        more = {
            "failures": (*found.failures, *failures),
            "series": tuple(series),
            "tiny_iou": tiny_iou,
            "seconds": round(time.perf_counter() - started, 1),
        }
        return add_machine(found.model_copy(update=more), vit_b=vit_b, say=self.say)
