"""What all suites have in common: options, one bar, one way to fail, one place for the figures.

A suite is a plain function of a `Measuring`, which it gives its figures, and of its own options.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from benchmarks.intervals import Estimate
from benchmarks.pages import RECORDS, ROOT, print_tables, write_pages
from benchmarks.table import (
    Model,
    Part,
    Row,
    Table,
    describe_model,
    describe_run,
    publishable,
    read_table,
    write_table,
)
from samclip_sdk import SamClip
from samclip_sdk.cli.options import grouped
from samclip_sdk.cli.terminal import Display, WrongUsageError, working
from samclip_sdk.errors import SamClipError
from samclip_sdk.system.timing import elapsed_ms

RUNS = Path("runs")
_MENDABLE = (SamClipError, WrongUsageError, OSError, ValueError, FloatingPointError, ImportError)

ModelName = Annotated[str, typer.Option(help="an embedded bundle's name, a bundle, a checkpoint")]
Runtime = Annotated[str, typer.Option(help="onnx, openvino, ..., or torch for a checkpoint")]
Seed = Annotated[int, typer.Option(min=0)]
Rounds = Annotated[int, typer.Option(min=1, help="each measures everything once, in turn")]
Threads = Annotated[int, typer.Option(min=0, help="the runtime's; 0: its own choice")]
Output = Annotated[
    Path | None, typer.Option(help="where the figures go, .jsonl; by default into the folder runs")
]
Write = Annotated[
    bool,
    typer.Option("--write", help="publish: write the figures, and pages that show them, to docs"),
]

Item = TypeVar("Item")


class Measuring:
    """A suite that measures: what was found, where it goes, and since when.

    Attributes:
        suite: the name of the table.
        path: the file; figures of other subjects that are there stay.
        settings: what was asked for, and what else the run's line tells.
        model: that is measured, if it is one.
        shows: the templates that are printed at the end; all figures, if there is none.
    """

    def __init__(
        self, suite: str, path: Path, settings: Mapping[str, Any], display: Display
    ) -> None:
        self.suite, self.path, self.settings = suite, path, dict(settings)
        self.model: Model | None = None
        self.shows: Sequence[str] = ()
        self._rows: list[Row] = []
        self._since, self._display = time.perf_counter(), display

    def of(self, samclip: SamClip) -> SamClip:
        """Tells which model is measured, on which runtime; the model itself."""
        self.model = describe_model(samclip.manifest, samclip.source)
        return samclip

    def add(
        self,
        subject: str,
        split: str = "",
        *,
        n: int | None = None,
        **figures: float | Estimate | None,
    ) -> None:
        """Takes figures of a subject, by metric; those that are None are left out."""
        for metric, figure in figures.items():
            if figure is not None:
                found = figure if isinstance(figure, Estimate) else Estimate(figure)
                what = {"suite": self.suite, "subject": subject, "split": split, "metric": metric}
                self._rows.append(Row(**what, **found._asdict(), n=n))

    def save(self) -> None:
        """Writes what was added since the last time, as a run of its own."""
        if not self._rows:
            return
        now = time.perf_counter()
        run = describe_run(self.suite).model_copy(
            update={
                "seconds": round(now - self._since, 1),
                "model": self.model,
                "settings": dict(self.settings),
            }
        )
        known = read_table(self.path) if self.path.exists() else Table()
        write_table(known.merge(Part.of(run, self._rows)), self.path)
        self._rows, self._since = [], now

    def say(self, doing: str, done: int = 0, total: int | None = None) -> None:
        """Shows what is being done, and how far it is."""
        if total is None:
            self._display.say(doing)
        else:
            self._display.show(doing, done, total)

    def tell(self, line: str) -> None:
        """Says a line that stays, on standard error."""
        typer.echo(line, err=True)

    def track(
        self, items: Iterable[Item], doing: str, *, total: int | None = None
    ) -> Iterator[Item]:
        """Shows how far one is among items, `total` of them if they do not tell."""
        count = len(items) if isinstance(items, Sequence) else total
        for done, item in enumerate(items):
            self.say(doing, done, count)
            yield item

    def in_turn(
        self, works: Mapping[Item, Callable[[], object]], doing: str, *, rounds: int
    ) -> dict[Item, list[float]]:
        """Does works in turn, round by round; milliseconds of each. The first time does not count.

        So the machine's drift falls on all alike.
        """
        found: dict[Item, list[float]] = {key: [] for key in works}
        for turn in self.track(range(1 + rounds), doing):
            for key, work in works.items():
                ms = elapsed_ms(work)
                found[key] += [ms] if turn else []
        return found


def timed(work: Callable[[], Item]) -> tuple[Item, float]:
    """What work returns, and the milliseconds that it took."""
    started = time.perf_counter()
    return work(), 1000 * (time.perf_counter() - started)


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Ends a command in one line on standard error, whatever it raises that a person can mend."""
    try:
        yield
    except _MENDABLE as error:
        typer.echo(f"error: {' '.join(str(error).split())}", err=True)
        raise typer.Exit(1) from error


@contextmanager
def measuring(
    suite: str,
    *,
    output: Path | None = None,
    write: bool = False,
    shows: Sequence[str] = (),
    settings: Mapping[str, Any],
) -> Iterator[Measuring]:
    """Runs what measures; where its figures go is settled first.

    So hours of measuring do not end in an error. The figures go to `output`, or to docs/benchmarks
    with `write`, or else to `runs`. `shows` are the tables that are printed at the end.
    """
    with one_line_errors():
        if write and output is not None:
            raise ValueError("--output and --write each name a place for the figures: give one")
        if output is None and not write:
            RUNS.mkdir(exist_ok=True)
        path = output or (ROOT / RECORDS if write else RUNS) / f"{suite}.jsonl"
        if not path.absolute().parent.is_dir():
            raise ValueError(f"the folder of {path} does not exist")
        if path.exists():
            read_table(path)
        with working("starting") as display:
            measured = Measuring(suite, path, settings, display)
            measured.shows = shows
            yield measured
            measured.save()
        known = read_table(path) if path.exists() else Table()
        typer.echo(print_tables(suite, known, measured.shows).rstrip())
        typer.echo(f"The figures are in {path}.", err=True)
        if write:
            for page in write_pages(ROOT):
                typer.echo(f"Written: {page}", err=True)


def command(
    suite: str | Callable[[Mapping[str, Any]], str],
    function: Callable[..., None],
    *,
    shows: Sequence[str] | Callable[[str], Sequence[str]] = (),
) -> Callable[..., None]:
    """What typer runs for a suite: its own options, --output and --write.

    `suite` names the table, or tells its name by the options, and `shows` the templates that are
    printed at the end, or tells them by that name. The options' values are the settings of the run.
    """
    word = inspect.Parameter.KEYWORD_ONLY
    ask = grouped(function, leading=1)
    own = inspect.signature(ask).parameters.values()
    parameters = [
        *own,
        inspect.Parameter("output", word, default=None, annotation=Output),
        inspect.Parameter("write", word, default=False, annotation=Write),
    ]

    def run(*, output: Path | None, write: bool, **asked: Any) -> None:
        with one_line_errors():
            name = suite if isinstance(suite, str) else suite({**asked, "write": write})
        settings = {key: _plain(value) for key, value in asked.items() if value is not None}
        target = {"output": output, "write": write}
        shown = shows(name) if callable(shows) else shows
        with measuring(name, **target, shows=shown, settings=settings) as measured:
            ask(measured, **asked)

    run.__doc__ = function.__doc__
    run.__signature__ = inspect.Signature(parameters)
    run.__annotations__ = {each.name: each.annotation for each in parameters}
    return run


def _plain(value: Any) -> Any:
    """A setting as JSON has it; of a path the name alone."""
    if isinstance(value, Path):
        return value.name
    if isinstance(value, str):
        return publishable(value)
    return [_plain(each) for each in value] if isinstance(value, (list, tuple)) else value
