"""`samclip bench`: how fast a model is on this device, step by step, and what memory it takes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from samclip_sdk.bench.bench import BenchReport, bench_model
from samclip_sdk.bench.timed_tasks import MAX_LABELS, PRESENT
from samclip_sdk.cli.terminal import print_table, show_progress, working
from samclip_sdk.client import DEFAULT_MODEL
from samclip_sdk.runtimes.options import RuntimeOptions
from samclip_sdk.timing import Timing

_MEGA = 1e6


def bench(
    bundle: Annotated[
        str, typer.Argument(metavar="[BUNDLE]", help="its folder, .zip or name; or a checkpoint")
    ] = DEFAULT_MODEL,
    runtime: Annotated[
        str, typer.Option(help="onnx, openvino, coreml, tensorrt, torch or auto")
    ] = "auto",
    precision: Annotated[
        str | None, typer.Option(help="of the artifacts; by default the bundle's own choice")
    ] = None,
    threads: Annotated[int, typer.Option(help="0: the runtime's choice", min=0)] = 0,
    image: Annotated[
        Path | None, typer.Option(help="a picture to read and decode; by default noise, in memory")
    ] = None,
    labels: Annotated[
        int,
        typer.Option(
            help="that text-to-mask is asked for; 3 are present", min=len(PRESENT), max=MAX_LABELS
        ),
    ] = len(PRESENT),
    seconds: Annotated[
        float, typer.Option(help="to time each workload for; three runs at least", min=0)
    ] = 3.0,
    unverified: Annotated[
        bool, typer.Option("--unverified", help="even if `samclip verify` has not passed here")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print one line of JSON")] = False,
) -> None:
    """Time a model on this device, and the steps of its work.

    Classification is of 1,000 labels and text-to-mask of three that are present; the embeddings of
    texts are there already.
    """
    with working("loading") as status:
        report = bench_model(
            bundle,
            runtime=runtime,
            precision=precision,
            options=RuntimeOptions(threads=threads, on_progress=show_progress),
            image=image,
            labels=labels,
            seconds=seconds,
            unverified=unverified,
            on_progress=lambda doing: status.update(f"timing {doing}"),
        )
    if as_json:
        typer.echo(report.to_json())
        return
    _print_report(report)


def _print_report(report: BenchReport) -> None:
    rows = [
        (
            name,
            f"{timing.first_ms:.1f}",
            *_milliseconds(timing.warm),
            f"{timing.images_per_s:.2f}",
            _megabytes(timing.peak_rss_bytes),
        )
        for name, timing in report.workloads.items()
    ]
    print_table(
        (_subject(report), "first, ms", "p50", "p90", "p99", "runs", "a second", "peak MB"), rows
    )
    print_table(
        ("step of three_ways", "p50, ms", "p90", "p99", "runs"),
        [(name, *_milliseconds(timing)) for name, timing in report.steps.items()],
    )
    width, height = report.picture_px
    typer.echo(
        f"{width}x{height} px, {report.labels} labels, loaded in {report.load_ms:.0f} ms, "
        f"{_megabytes(report.artifact_bytes)} MB of artifacts, at most "
        f"{_megabytes(report.peak_rss_bytes)} MB of memory, "
        f"{'verified' if report.verified else 'NOT VERIFIED'} on this device"
    )


def _subject(report: BenchReport) -> str:
    weights = ", random weights" if report.random_weights else ""
    return f"{report.name} on {report.runtime} {report.precision}{weights}"


def _milliseconds(timing: Timing) -> tuple[str, ...]:
    values = (timing.p50_ms, timing.p90_ms, timing.p99_ms)
    return (*("-" if value is None else f"{value:.2f}" for value in values), str(timing.n))


def _megabytes(size: int | None) -> str:
    return "-" if size is None else f"{size / _MEGA:.1f}"
