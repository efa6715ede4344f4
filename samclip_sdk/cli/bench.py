"""`samclip bench`: the speed of a model on this device, step by step, and its memory."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from samclip_sdk.cli.checks import check_image
from samclip_sdk.cli.options import (
    AsJson,
    ModelOptions,
    OtherImage,
    grouped,
)
from samclip_sdk.cli.terminal import print_json, print_line, print_table, working
from samclip_sdk.device.bench import BenchReport, bench_model, open_model
from samclip_sdk.device.bench_workloads import MAX_LABELS, PRESENT
from samclip_sdk.system.timing import Timing

_MEGA = 1e6


@grouped
def bench(
    image: OtherImage = None,
    *,
    label_count: Annotated[
        int,
        typer.Option(
            help=f"labels to find, {len(PRESENT)} to {MAX_LABELS}; {len(PRESENT)} are present"
        ),
    ] = len(PRESENT),
    seconds: Annotated[
        float, typer.Option(help="seconds for each workload; at least three runs")
    ] = 3.0,
    unverified: Annotated[
        bool, typer.Option("--unverified", help="even if `samclip verify` has not passed here")
    ] = False,
    opened: ModelOptions,
    as_json: AsJson = False,
) -> None:
    """Time a model on this device, and the steps of its work; on noise if no image is given.

    Classification has 1,000 labels, and text-to-mask has three that are present. Their texts are
    embedded before; the cost of embedding, computed and from the cache, comes last.
    """
    with working("opening") as display:
        if image is not None:
            check_image(image)
        opening = partial(
            open_model,
            opened.model,
            runtime=opened.runtime,
            precision=opened.precision,
            public_key=opened.key,
            options=opened.run.for_runtime(display),
            unverified=unverified,
        )
        report = bench_model(
            opening,
            image=image,
            label_count=label_count,
            seconds=seconds,
            on_progress=display.show,
        )
    if as_json:
        print_json(report.model_dump_json())
    else:
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
    if report.texts:
        print_table(
            ("texts, one by one", "p50, ms", "p90", "p99", "runs"),
            [(name, *_milliseconds(timing)) for name, timing in report.texts.items()],
        )
    width, height = report.image_px
    print_line(
        f"{width}x{height} px, {report.label_count} labels, loaded in {report.load_ms:.0f} ms, "
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
