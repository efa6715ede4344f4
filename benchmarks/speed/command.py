"""`python -m benchmarks latency` measures, `latency-report` shows it, `compare` compares two."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.markdown import Markdown

from benchmarks.quality.report import insert_table
from benchmarks.record import describe_environment
from benchmarks.speed.compare import render_comparison
from benchmarks.speed.device import describe_device, describe_state
from benchmarks.speed.measure import measure_subjects
from benchmarks.speed.process import publishable
from benchmarks.speed.report import render
from benchmarks.speed.schema import Latency, Settings, published_schema, read_latency
from benchmarks.speed.subjects import check_spec
from samclip_sdk.atomic_file import atomic_file
from samclip_sdk.errors import SamClipError

_MARKER = "latency"

Source = Annotated[Path, typer.Argument(help="what latency wrote", exists=True)]
Page = Annotated[
    Path | None, typer.Option(help="Markdown with <!-- latency --> and its end", exists=True)
]
Chart = Annotated[Path | None, typer.Option(help="a bar chart, PNG")]


def latency(
    subject: Annotated[
        list[str],
        typer.Option(
            help="whom: samclip, a peer or module:Class, with arguments behind commas, such as "
            "samclip,model=my-bundle,precision=int8,threads=2; repeatable"
        ),
    ],
    rounds: Annotated[int, typer.Option(help="each opens every subject afresh", min=1)] = 3,
    seconds: Annotated[float, typer.Option(help="to time a workload for, in a round", min=0)] = 5.0,
    at_least: Annotated[int, typer.Option(help="runs, whatever they take", min=1)] = 3,
    at_most: Annotated[int, typer.Option(help="runs, in a round", min=1)] = 1000,
    limit: Annotated[
        float, typer.Option(help="seconds after which a run or a load has failed", min=1)
    ] = 1800.0,
    baseline: Annotated[
        str | None,
        typer.Option(help="the key of the subject to compare with; by default the first one's"),
    ] = None,
    output: Annotated[Path, typer.Option(help="the result, JSON")] = Path("latency.json"),
    page: Page = None,
    figure: Chart = None,
) -> None:
    """Times subjects on this device, one at a time, in rounds, each in a process of its own."""
    try:
        _check(subject, outputs=(output, figure), page=page)
        settings = Settings(
            rounds=rounds,
            seconds=seconds,
            at_least=at_least,
            at_most=max(at_least, at_most),
            baseline=baseline,
        )
        record = _measure(subject, settings=settings, limit_s=limit)
        with atomic_file(output) as file:
            file.write(f"{record.model_dump_json(indent=1)}\n".encode())
        _show(record, page=page, figure=figure)
    except (SamClipError, OSError, ValueError) as error:
        _fail(str(error))
    if not record.subjects:
        _fail(f"nothing was measured: {output} says why")


def latency_report(source: Source, page: Page = None, figure: Chart = None) -> None:
    """Shows what was measured, and writes its table into a page and its chart into a file."""
    try:
        _check((), outputs=(figure,), page=page)
        _show(read_latency(source), page=page, figure=figure)
    except (SamClipError, OSError, ValueError) as error:
        _fail(str(error))


def compare(
    first: Source, second: Annotated[Path, typer.Argument(help="another one", exists=True)]
) -> None:
    """Compares what two runs measured: the second's times as multiples of the first's."""
    try:
        typer.echo(render_comparison(read_latency(first), read_latency(second)))
    except (OSError, ValueError) as error:
        _fail(str(error))


def latency_schema(
    output: Annotated[Path, typer.Argument(help="where it goes")] = Path(
        "docs/latency.schema.json"
    ),
) -> None:
    """Writes the JSON schema of what latency writes."""
    try:
        with atomic_file(output) as file:
            file.write(published_schema().encode())
    except (SamClipError, OSError) as error:
        _fail(str(error))


def _check(specs: Sequence[str], *, outputs: Sequence[Path | None], page: Path | None) -> None:
    """Refuses before any work what could not be measured or written.

    Raises:
        ValueError: a subject that is not there, or is there twice; no place for a result.
    """
    for spec in specs:
        check_spec(spec)
    twice = sorted({spec for spec in specs if specs.count(spec) > 1})
    if twice:
        raise ValueError(f"the subject {twice[0]!r} is there twice")
    for path in outputs:
        if path is not None and not path.absolute().parent.is_dir():
            raise ValueError(f"the folder of {path} does not exist")
    if page is not None:
        insert_table(page.read_text(encoding="utf-8"), "", name=_MARKER)


def _measure(specs: Sequence[str], *, settings: Settings, limit_s: float) -> Latency:
    device, before = describe_device(), describe_state()
    with Console(stderr=True).status("measuring") as status:
        rows, failures = measure_subjects(
            specs, settings=settings, limit_s=limit_s, on_progress=status.update
        )
    if settings.baseline is None and rows:
        settings = settings.model_copy(update={"baseline": rows[0].key})
    return Latency(
        environment=describe_environment([publishable(each) for each in sys.argv[1:]]),
        device=device,
        before=before,
        after=describe_state(),
        settings=settings,
        subjects=rows,
        failures=failures,
    )


def _show(record: Latency, *, page: Path | None, figure: Path | None) -> None:
    """Prints the table; writes it, and the chart, where they are wanted."""
    table = render(record)
    if figure is not None:
        # Only here: matplotlib is for the figures alone.
        from benchmarks.speed.chart import draw_latency

        drawn = draw_latency(record)
        with atomic_file(figure) as file:
            file.write(drawn)
    if page is not None:
        text = insert_table(page.read_text(encoding="utf-8"), table, name=_MARKER)
        with atomic_file(page) as file:
            file.write(text.encode())
    Console().print(Markdown(table))


def _fail(message: str) -> NoReturn:
    typer.echo(f"error: {' '.join(message.split())}", err=True)
    raise typer.Exit(1)
