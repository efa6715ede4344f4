"""Every page that shows measured figures: of which templates it is made, and whether it is current.

A page is prose, with tables between markers. Only what is between them is written here, each by a
template of the folder `templates`, out of the tables in docs/benchmarks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache, partial
from pathlib import Path

import jinja2

from benchmarks import old_pages
from benchmarks.intervals import Estimate
from benchmarks.paper import charts as paper_charts
from benchmarks.paper import words
from benchmarks.quality import charts as quality_charts
from benchmarks.table import Row, Table, read_table
from samclip_sdk.system.atomic_file import atomic_file

ROOT = Path(__file__).parents[1]
RECORDS = Path("docs/benchmarks")
NONE = "–"
CARD = "samclip_sdk/bundle/embedded/samclip-mobile/README.md"
CARD_SOURCE = "training/checkpoints/mobile/refinement/card.md"
"""The embedded bundle's model card, and what it is made of. The bundle's manifest has the card's
checksum, so that only an export of the checkpoint may write it."""

_CARD = {"quality_photographs": "photographs_summary"}

PAGES: dict[str, dict[str, str]] = {
    "README.md": {"held_out_sets": "held_out_summary"},
    "docs/results.md": {
        name: f"paper/{name}@paper_photographs" for name in words.PARTS if name != "lambdas"
    },
    f"{RECORDS}/serve.md": {"serve": "serve"},
    f"{RECORDS}/quality.md": {"quality": "quality"},
    f"{RECORDS}/held_out_sets.md": {"held_out_sets": "held_out_sets"},
    f"{RECORDS}/quality_photographs.md": {"quality_photographs": "quality_photographs"},
    f"{RECORDS}/paper.md": {name: f"paper/{name}@paper" for name in words.PARTS},
    "training/checkpoints/tiny/stage3/card.md": {"quality": "quality"},
    CARD_SOURCE: _CARD,
    CARD: _CARD,
}
"""Page -> marker -> the template of what stands there; one for several tables names its own."""

CHARTS: dict[str, Callable[[Callable[[str], Table]], bytes]] = {
    "quality_photographs.svg": quality_charts.draw_curve,
    **paper_charts.CHARTS,
}
"""File -> what draws it, of the tables that it reads by name."""

Figure = Row | Estimate | float | None


def render_pages(root: Path) -> dict[str, str]:
    """Address -> text, of every page that is made of the tables under `root`."""
    read = partial(_read, root)
    tables: dict[str, dict[str, str]] = {
        page: {marker: render(name, read) for marker, name in blocks.items()}
        for page, blocks in PAGES.items()
    }
    for page, blocks in old_pages.render_pages(root).items():
        tables.setdefault(page, {}).update(blocks)
    return {
        page: insert_tables((root / page).read_text(encoding="utf-8"), own)
        for page, own in tables.items()
    }


def _read(root: Path, name: str) -> Table:
    return read_table(root / RECORDS / f"{name}.jsonl")


def render(name: str, read: Callable[[str], Table]) -> str:
    """What a template makes of the tables that it reads by name, whole lines of Markdown.

    A template for several tables has the one of its name behind an @, as `suite`.
    """
    template, _, suite = name.partition("@")
    found = _environment().get_template(f"{template}.md").render(read=read, suite=suite)
    return f"{found.strip()}\n"


def print_tables(suite: str, table: Table, names: Sequence[str]) -> str:
    """What a command prints of its own table: the templates of these names, or all figures."""
    if not names:
        return show_figures(table)
    found = {name: render(name, lambda asked: {suite: table}[asked]) for name in names}
    if len(found) == 1:
        return found[names[0]]
    heads = {name: name.partition("@")[0].rpartition("/")[2].replace("_", " ") for name in found}
    return "\n\n".join(f"## {heads[name]}\n\n{text}" for name, text in found.items())


def show_figures(table: Table) -> str:
    """All figures of a table, a line each."""
    frame = table.frame()
    rows = [
        [row.subject, row.split, row.metric, spread(row), NONE if row.n is None else str(row.n)]
        for part in table.parts
        for row in part.rows.values()
    ]
    heads = [*frame.columns[2:5], "value (low–high)", "n"]
    return f"{grid(heads, rows, words=3)}\n"


@cache
def _environment() -> jinja2.Environment:
    loader = jinja2.FileSystemLoader(Path(__file__).parent / "templates")
    made = jinja2.Environment(
        loader=loader, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    made.filters |= {
        "percent": percent,
        "interval": interval,
        "digits": digits,
        "spread": spread,
        "mb": megabytes,
        "fixed": fixed,
    }
    made.globals |= {"grid": grid, "by_size": by_size, "NONE": NONE}
    for each in (words.part_of, words.names_of):
        made.globals[each.__name__] = each
    for name in ("METHODS", "BACKBONES", "KINDS"):
        made.globals[name] = getattr(words, name)
    return made


def _value(figure: Figure) -> float | None:
    return figure.value if isinstance(figure, (Row, Estimate)) else figure


def percent(figure: Figure) -> str:
    """A share in percent, to one decimal."""
    value = _value(figure)
    return NONE if value is None else f"{100 * value:.1f}"


def interval(figure: Row | Estimate | None) -> str:
    """A share in percent, and its interval."""
    if figure is None:
        return NONE
    return f"{percent(figure)} ({percent(figure.low)} to {percent(figure.high)})"


def digits(figure: Figure) -> str:
    """Three digits, or as many as there are before the point."""
    value = _value(figure)
    if value is None:
        return NONE
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def spread(figure: Figure) -> str:
    """A figure of three digits, and in brackets its limits, if they are known."""
    if not isinstance(figure, (Row, Estimate)) or figure.low is None:
        return digits(figure)
    return f"{digits(figure)} ({digits(figure.low)}–{digits(figure.high)})"


def megabytes(figure: Figure) -> str:
    """Whole megabytes, of 10^6 bytes."""
    return fixed(figure, 0, per=1e6)


def fixed(figure: Figure, places: int, per: float = 1) -> str:
    """So many decimals of a figure, in units of `per`."""
    value = _value(figure)
    return NONE if value is None else f"{value / per:.{places}f}"


def grid(heads: Sequence[str], rows: Iterable[Sequence[object]], *, words: int = 1) -> str:
    """A table in Markdown, without an end of line; the first `words` columns are of words."""
    rule = "|" + "---|" * words + "---:|" * (len(heads) - words)
    first, *lines = (
        "|" + "".join(f" {cell} |" if cell != "" else " |" for cell in row)
        for row in (heads, *rows)
    )
    return "\n".join([first, rule, *lines])


def by_size(head: str, cells: Mapping[str, Mapping[int, str]], *, unit: str) -> str:
    """A table with a row for each name and a column for each size: name -> size -> cell."""
    sizes = sorted({size for own in cells.values() for size in own})
    rows = [[name, *(own.get(size, NONE) for size in sizes)] for name, own in cells.items()]
    return grid([head, *(f"{size}{unit}" for size in sizes)], rows)


def insert_tables(page: str, tables: Mapping[str, str]) -> str:
    """Puts each table between the page's markers of its name, whatever stood there."""
    for name, text in tables.items():
        start, end = f"<!-- {name} -->", f"<!-- /{name} -->"
        if page.count(start) != 1 or page.count(end) != 1 or page.index(start) > page.index(end):
            raise ValueError(f"a page has no place for its table: one {start} and one {end} after")
        before, rest = page.split(start)
        page = f"{before}{start}\n{text}{end}{rest.split(end)[1]}"
    return page


def stale_pages(root: Path) -> list[str]:
    """The addresses of pages that do not show what was measured, or are not there."""
    return [
        page
        for page, text in render_pages(root).items()
        if not (root / page).is_file() or (root / page).read_text(encoding="utf-8") != text
    ]


def write_pages(root: Path) -> Iterator[str]:
    """Writes every page that is not current, and all charts; yields what was written."""
    # All in memory first: if one fails, no file is changed.
    files = {page: text.encode() for page, text in render_pages(root).items()}
    drawn = {name: draw(partial(_read, root)) for name, draw in CHARTS.items()}
    drawn |= old_pages.draw_charts(root)
    files |= {f"{RECORDS}/images/{name}": chart for name, chart in drawn.items()}
    card = files.pop(CARD)
    for page, content in files.items():
        path = root / page
        if not path.is_file() or path.read_bytes() != content:
            with atomic_file(path) as file:
                file.write(content)
            yield page
    if (root / CARD).read_bytes() != card:
        checkpoint = Path(CARD_SOURCE).parent
        raise ValueError(f"{CARD} shows other figures: export {checkpoint} again")
