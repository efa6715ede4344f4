"""Every page that shows measured figures: of which templates it is made, and whether it is current.

A page is prose, with tables between markers. Only what is between them is written here, each by a
template of the folder `templates`, out of the tables in docs/benchmarks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial
from pathlib import Path

import jinja2

from benchmarks import figures, intervals
from benchmarks.charts import CHARTS
from benchmarks.paper import words
from benchmarks.table import Table, read_table
from export.model_card import MODEL_CARD, model_card, write_descriptions
from samclip_sdk.bundle.manifest import MANIFEST_NAME, Manifest
from samclip_sdk.system.atomic_file import atomic_file

ROOT = Path(__file__).parents[1]
RECORDS = Path("docs/benchmarks")
BUNDLE = "samclip_sdk/bundle/embedded/samclip-mobile"
CARD = f"{BUNDLE}/{MODEL_CARD}"
CARD_SOURCE = "training/checkpoints/mobile/refinement/card.md"
"""The embedded bundle, its model card, and what that is made of."""

PAPER = {name: f"paper/{name}" for name in words.PARTS}
"""The paper's tables."""

CAMPAIGNS = ("threads", "memory", "kills", "long_runs")

PAGES: dict[str, dict[str, str]] = {
    "README.md": {"held_out_sets": "held_out_readme", "speed": "speed_summary"},
    "docs/performance.md": {
        "encoders": "encoders",
        "growth": "growth",
        "serve": "serve@published",
    },
    "docs/concepts/precision.md": {"floats": "floats"},
    "docs/reliability.md": {
        name: name for name in ("reliability", *(f"reliability_{each}" for each in CAMPAIGNS))
    },
    "docs/how-to/annotate.md": {each: each for each in ("annotate_labels", "annotate_workers")},
    f"{RECORDS}/held_out_sets.md": {each: each for each in ("held_out_sets", "objects")},
    f"{RECORDS}/quality_photographs.md": {
        "quality_photographs": "quality_photographs@published",
        **PAPER,
    },
    f"{RECORDS}/words.md": {"words": "words@published"},
    CARD_SOURCE: {"held_out_sets": "held_out_summary"},
    f"{RECORDS}/speed.md": {
        "bars": "speed_bars",
        "subjects": "speed_published@speed",
        "runs": "speed_runs",
    },
    f"{RECORDS}/speed_vit_b.md": {
        "subjects": "speed_published@speed_vit_b",
        **{each: f"speed_vit_b_{each}" for each in ("bars", "costs", "image_encoder", "boxes")},
    },
}
"""Page -> marker -> the template of what stands there; one for several tables names its own."""


_FILTERS = ("digits", "fixed", "general", "interval", "percent", "spread", "thousands", "times")
"""Of `figures`: how templates write them."""

_GLOBALS = {
    figures: ("NONE",),
    intervals: ("exact", "judge", "quotient"),
    words: ("BACKBONES", "KINDS", "METHODS", "names_of", "part_of"),
}
"""What else templates use."""


def render_pages(root: Path) -> dict[str, str]:
    """Address -> text, of every page that is made of the tables under `root`."""
    read = partial(_read, root)
    pages = {}
    for page, blocks in PAGES.items():
        tables = {marker: render(name, read) for marker, name in blocks.items()}
        pages[page] = insert_tables((root / page).read_text(encoding="utf-8"), tables)
    return pages | {CARD: model_card(_shipped(root), card=pages[CARD_SOURCE])}


def _shipped(root: Path) -> Manifest:
    """The manifest of the embedded bundle."""
    return Manifest.model_validate_json((root / BUNDLE / MANIFEST_NAME).read_bytes())


def _read(root: Path, name: str) -> Table:
    path = root / RECORDS / f"{name}.jsonl"
    return read_table(path) if path.exists() else Table()


def render(name: str, read: Callable[[str], Table]) -> str:
    """What a template makes of the tables that it reads by name, whole lines of Markdown.

    A template for several tables has the one of its name behind an @, as `suite`.
    """
    template, _, suite = name.partition("@")
    found = _environment().get_template(f"{template}.md").render(read=read, suite=suite)
    return f"{found.strip()}\n"


def print_tables(suite: str, table: Table, names: Sequence[str]) -> str:
    """What a command prints of its own table: the templates of these names, or all figures."""
    shown = names or [f"figures@{suite}"]
    found = {name: render(name, lambda asked: {suite: table}[asked]) for name in shown}
    if len(found) == 1:
        return found[shown[0]]
    heads = {name: name.partition("@")[0].rpartition("/")[2].replace("_", " ") for name in found}
    return "\n\n".join(f"## {heads[name]}\n\n{text}" for name, text in found.items())


@cache
def _environment() -> jinja2.Environment:
    loader = jinja2.FileSystemLoader(Path(__file__).parent / "templates")
    made = jinja2.Environment(
        loader=loader, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    made.filters |= {name: getattr(figures, name) for name in _FILTERS}
    for module, names in _GLOBALS.items():
        made.globals |= {name: getattr(module, name) for name in names}
    return made


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
    files |= {f"{RECORDS}/images/{name}": chart for name, chart in drawn.items()}
    for page, content in files.items():
        path = root / page
        if path.is_file() and path.read_bytes() == content:
            continue
        if page == CARD:  # the manifest has its checksum
            card = files[CARD_SOURCE].decode()
            write_descriptions(root / BUNDLE, manifest=_shipped(root), card=card)
        else:
            with atomic_file(path) as file:
                file.write(content)
        yield page
