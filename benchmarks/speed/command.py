"""`python -m benchmarks speed` times subjects, `compare` holds two records against each other."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks.command import Output, Write, measurement, one_line_errors
from benchmarks.record import read_record
from benchmarks.report import join_tables
from benchmarks.speed.bars import render_comparison
from benchmarks.speed.measure import describe_device, describe_state, measure_subjects
from benchmarks.speed.published import DEFAULT_ONNX, SAM_CLIP_TORCH, measure_default
from benchmarks.speed.record import Settings, Speed
from benchmarks.speed.report import render_default, render_subjects, render_vit_b
from benchmarks.speed.subject import check_spec

FOLDER = Path("runs/speed")

Subjects = Annotated[
    list[str] | None,
    typer.Option(
        help="measure this one alone: samclip, a peer or module:Class, with arguments behind "
        "commas, such as samclip,model=my-bundle,precision=int8,threads=2; may be given again"
    ),
]
VitB = Annotated[
    bool, typer.Option("--vit-b", help="measure a ViT-B at 1024 px, beside SAM and CLIP, instead")
]


def speed(
    subject: Subjects = None,
    vit_b: VitB = False,
    folder: Annotated[Path, typer.Option(help="of ViT-B; it is exported there once")] = FOLDER,
    rounds: Annotated[int, typer.Option(help="each opens every subject afresh", min=1)] = 3,
    seconds: Annotated[float, typer.Option(help="to time a workload for, in a round", min=0)] = 2.0,
    at_least: Annotated[int, typer.Option(help="runs; ten of what is below a second", min=1)] = 1,
    at_most: Annotated[int, typer.Option(help="runs, in a round", min=1)] = 200,
    baseline: Annotated[str | None, typer.Option(help="the subject to compare with")] = None,
    output: Output = None,
    write: Write = False,
) -> None:
    """Times the SDK and its peers on this device, in rounds, each in a process of its own.

    Without a subject it takes those of docs/benchmarks/speed.md, the default model beside YOLOE,
    CLIPSeg and MobileSAM, and with --vit-b those of docs/benchmarks/speed_vit_b.md. The machine
    should be idle.
    """
    name = "speed_vit_b" if vit_b else "speed"
    with measurement(name, output=output, write=write) as measured:
        specs = tuple(subject or ())
        _check(specs, vit_b=vit_b, write=write)
        settings = Settings(
            rounds=rounds,
            seconds=seconds,
            at_least=at_least,
            at_most=max(at_least, at_most),
            baseline=baseline or (None if specs else SAM_CLIP_TORCH if vit_b else DEFAULT_ONNX),
        )
        with Console(stderr=True).status("starting") as status:
            say, tell, device = status.update, partial(typer.echo, err=True), describe_device()
            measure = partial(measure_subjects, settings=settings, on_progress=say, on_failure=tell)
            before = describe_state()
            if specs:
                found = dict(zip(("subjects", "failures"), measure(specs), strict=True))
            elif vit_b:
                # Only here: it exports, and so needs torch, which other measurements do without.
                from benchmarks.speed.vit_b import measure_vit_b

                cores = device.usable_cores or device.cores
                found = measure_vit_b(folder, measure=measure, cores=cores, say=say, tell=tell)
            else:
                found = measure_default(measure, say=say, tell=tell)
        if settings.baseline is None and found["subjects"]:
            settings = settings.model_copy(update={"baseline": found["subjects"][0].key})
        after = describe_state()
        record = Speed(
            **measured.run(), **found, device=device, before=before, after=after, settings=settings
        )
        render = render_vit_b if vit_b else render_default
        tables = render_subjects(record) if specs else join_tables(render(record))
        measured.finish(record, tables)
        if not record.subjects:
            raise ValueError(f"nothing was measured: {measured.place} says why")


def compare(
    first: Annotated[Path, typer.Argument(help="what speed wrote", exists=True)],
    second: Annotated[Path, typer.Argument(help="another one", exists=True)],
) -> None:
    """Compares what two runs of speed measured: the second's times as multiples of the first's."""
    with one_line_errors():
        typer.echo(render_comparison(read_record(Speed, first), read_record(Speed, second)))


def _check(specs: Sequence[str], *, vit_b: bool, write: bool) -> None:
    """Refuses before any work what could not be measured, or would lose published figures."""
    for spec in specs:
        check_spec(spec)
    if twice := sorted({spec for spec in specs if specs.count(spec) > 1}):
        raise ValueError(f"the subject {twice[0]!r} is there twice")
    if specs and vit_b:
        raise ValueError("--subject and --vit-b each say what to measure: give one")
    if specs and write:
        raise ValueError("--write publishes a page with all its subjects: leave --subject out")
