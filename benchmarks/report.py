"""How figures are written (tables, numbers, charts), and a bar while they are measured."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import rich.progress
from rich.console import Console

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NONE = "–"
BLUE, ORANGE, GREY = "#2a6fb0", "#d9822b", "#8a8f98"


def track(items: Iterable[Any], description: str, *, total: int | None = None) -> Iterable[Any]:
    """Shows how far one is among items, `total` of them; one bar at a time, on a terminal."""
    console, hidden = Console(stderr=True), not sys.stderr.isatty()
    return rich.progress.track(items, description, total=total, console=console, disable=hidden)


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], *, words: int = 1) -> str:
    """A table in Markdown, without an end of line; the first `words` columns are of words."""
    rule = "|" + "---|" * words + "---:|" * (len(heads) - words)
    first, *lines = (
        "|" + "".join(f" {cell} |" if cell else " |" for cell in row) for row in (heads, *rows)
    )
    return "\n".join([first, rule, *lines])


def columns(items: Iterable[Any], cells: Mapping[str, Callable[[Any], str]], *, words: int) -> str:
    """A table with a row for each item: head of a column -> what makes an item's cell."""
    rows = [[cell(item) for cell in cells.values()] for item in items]
    return table(list(cells), rows, words=words)


def by_size(head: str, cells: Mapping[tuple[str, int], str], *, unit: str) -> str:
    """A table with a row for each name and a column for each size: (name, size) -> cell."""
    sizes = sorted({size for _, size in cells})
    rows = [
        [name, *(cells.get((name, size), NONE) for size in sizes)]
        for name in dict.fromkeys(name for name, _ in cells)
    ]
    return table((head, *(f"{size}{unit}" for size in sizes)), rows)


def percent(share: float | None) -> str:
    """A share in percent, to one decimal."""
    return NONE if share is None else f"{100 * share:.1f}"


def three_digits(value: float | None) -> str:
    """Three digits, or as many as there are before the point."""
    if value is None:
        return NONE
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def spread(middle: float | None, low: float | None, high: float | None) -> str:
    """A figure, and in brackets its limits, if they are known."""
    limits = "" if low is None else f" ({three_digits(low)}–{three_digits(high)})"
    return three_digits(middle) + limits


def megabytes(size: float | None) -> str:
    """Whole megabytes, of 10^6 bytes."""
    return NONE if size is None else f"{size / 1e6:.0f}"


def insert_tables(page: str, tables: Mapping[str, str]) -> str:
    """Puts each table between the page's markers of its name, whatever stood there."""
    for name, text in tables.items():
        start, end = f"<!-- {name} -->", f"<!-- /{name} -->"
        if page.count(start) != 1 or page.count(end) != 1 or page.index(start) > page.index(end):
            raise ValueError(f"a page has no place for its table: one {start} and one {end} after")
        before, rest = page.split(start)
        page = f"{before}{start}\n{text}{end}{rest.split(end)[1]}"
    return page


def join_tables(tables: Mapping[str, str]) -> str:
    """Tables below each other, as a command prints them."""
    return "\n\n".join(f"## {name.replace('_', ' ')}\n\n{text}" for name, text in tables.items())


def new_figure(width: float, height: float) -> Figure:
    """A chart's sheet, in inches."""
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("charts need matplotlib: pip install matplotlib") from error
    # Not pyplot: a figure of its own draws with Agg, and leaves no global state.
    return Figure(figsize=(width, height), layout="constrained")


def encode_figure(figure: Figure, *, form: str = "png") -> bytes:
    """The chart as "png" or "svg"; all its axes lose their upper and right lines."""
    # Only here: matplotlib is for charts alone.
    from matplotlib import rc_context

    axes: Axes
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
    buffer = io.BytesIO()
    # Without date, version and random names, the same numbers give the same file.
    metadata = {"png": {"Software": None}, "svg": {"Date": None, "Creator": None}}[form]
    dpi = 120 if form == "png" else "figure"
    with rc_context({"svg.hashsalt": "samclip"}):
        figure.savefig(buffer, format=form, dpi=dpi, metadata=metadata)
    return buffer.getvalue()
