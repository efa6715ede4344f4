"""`python -m benchmarks performance` measures all of docs/performance.md and writes it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks.quality.report import insert_table
from benchmarks.record import describe_environment
from benchmarks.speed.chart import draw_latency
from benchmarks.speed.device import describe_device, describe_state
from benchmarks.speed.measure import measure_subjects
from benchmarks.speed.process import publishable
from benchmarks.speed.published_record import Performance
from benchmarks.speed.published_report import render, render_summary
from benchmarks.speed.published_subjects import PEERS, SAM_CLIP_TORCH, VIT_B, specs
from benchmarks.speed.schema import Latency, Settings
from samclip_sdk.atomic_file import atomic_file
from samclip_sdk.errors import SamClipError

_LIMIT_S = 900.0

Page = Annotated[
    Path, typer.Option(help="Markdown with <!-- performance --> and its end", exists=True)
]
Readme = Annotated[Path, typer.Option(help="another, for the summary", exists=True)]


def performance(
    folder: Annotated[
        Path, typer.Option(help="where the ViT-B bundle is, or is exported to")
    ] = Path("runs/performance"),
    peer: Annotated[
        list[str] | None, typer.Option(help="whom to measure beside; by default all; repeatable")
    ] = None,
    rounds: Annotated[int, typer.Option(help="each opens every subject afresh", min=1)] = 1,
    seconds: Annotated[float, typer.Option(help="to time a workload for, in a round", min=0)] = 2.0,
    output: Annotated[Path, typer.Option(help="the result, JSON")] = Path("docs/performance.json"),
    page: Page = Path("docs/performance.md"),
    readme: Readme = Path("README.md"),
    figure: Annotated[Path, typer.Option(help="a bar chart, PNG")] = Path(
        "docs/images/latency.png"
    ),
) -> None:
    """Measures ViT-B at 1024 px and samclip-tiny beside their peers, on an idle machine."""
    try:
        for path in (page, readme):  # before any work
            insert_table(path.read_text(encoding="utf-8"), "", name="performance")
        with Console(stderr=True).status("starting") as status:
            found = _measure(
                folder / VIT_B,
                peers=tuple(peer or PEERS),
                settings=Settings(
                    rounds=rounds,
                    seconds=seconds,
                    at_least=2,
                    at_most=200,
                    baseline=SAM_CLIP_TORCH,
                ),
                say=status.update,
            )
        drawn = draw_latency(found.latency)
        with atomic_file(output) as file:
            file.write(f"{found.model_dump_json(indent=1)}\n".encode())
        with atomic_file(figure) as file:
            file.write(drawn)
        _write_pages(found, page=page, readme=readme)
    except (SamClipError, OSError, ValueError) as error:
        typer.echo(f"error: {' '.join(str(error).split())}", err=True)
        raise typer.Exit(1) from error


def performance_report(
    source: Annotated[Path, typer.Argument(help="what performance wrote", exists=True)] = Path(
        "docs/performance.json"
    ),
    page: Page = Path("docs/performance.md"),
    readme: Readme = Path("README.md"),
) -> None:
    """Writes the tables of what was measured into the page and the README again."""
    try:
        found = Performance.model_validate_json(source.read_bytes())
        _write_pages(found, page=page, readme=readme)
    except (OSError, ValueError) as error:
        typer.echo(f"error: {' '.join(str(error).split())}", err=True)
        raise typer.Exit(1) from error


def _measure(
    vit_b: Path, *, peers: Sequence[str], settings: Settings, say: Callable[[str], None]
) -> Performance:
    # Only here: it exports, and so needs torch, which the other commands do without.
    from benchmarks.speed.machine import measure, prepare_bundle, verify_all

    prepare_bundle(vit_b, say=say)
    tiny_iou = verify_all(vit_b, say=say)
    device, before = describe_device(), describe_state()
    rows, failures = measure_subjects(
        specs(vit_b, peers=peers), settings=settings, limit_s=_LIMIT_S, on_progress=say
    )
    latency = Latency(
        environment=describe_environment([publishable(each) for each in sys.argv[1:]]),
        device=device,
        before=before,
        after=describe_state(),
        settings=settings,
        subjects=rows,
        failures=failures,
    )
    return measure(
        latency,
        vit_b=vit_b,
        tiny_iou=tiny_iou,
        threads=device.usable_cores or device.cores,
        say=say,
    )


def _write_pages(found: Performance, *, page: Path, readme: Path) -> None:
    for path, table in ((page, render(found)), (readme, render_summary(found))):
        text = insert_table(path.read_text(encoding="utf-8"), table, name="performance")
        with atomic_file(path) as file:
            file.write(text.encode())
