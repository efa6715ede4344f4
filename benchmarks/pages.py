"""Every page that shows measured figures: of which record it is made, and whether it is current."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from benchmarks.artifacts import report as artifacts_report
from benchmarks.artifacts.record import Artifacts
from benchmarks.paper import report as paper_report
from benchmarks.paper.record import Results
from benchmarks.quality import report as quality_report
from benchmarks.quality.record import Quality
from benchmarks.record import read_record
from benchmarks.report import insert_table
from benchmarks.speed import report as speed_report
from benchmarks.speed.record import Speed, published_schema
from benchmarks.training_cost import TrainingCost
from benchmarks.training_cost import render as render_cost
from samclip_sdk.atomic_file import atomic_file

ROOT = Path(__file__).parents[1]
RECORDS = Path("docs/benchmarks")
SHIPPED = "samclip_sdk/assets/samclip-tiny/README.md"
"""The embedded bundle's model card. Its manifest has its checksum, so that only an export of the
checkpoint, whose card.md is the source, may write it."""

_CARD = "training/checkpoints/tiny/stage3/card.md"
_GENERATED = """\
# {title}

{text}

This page is written by `python -m benchmarks pages --write` from [{name}.json]({name}.json), which
`python -m benchmarks {command}` measures. Dates are those of the measurement, not of the page;
commands are written as they are called today.

"""
_INTRODUCTIONS = {
    "quality": (
        "Quality of samclip-tiny",
        "The embedded model, its two teachers and a floor that needs no learning, measured on "
        "drawings and\nbackgrounds that no training saw.",
    ),
    "speed": (
        "Speed and memory",
        "[Performance](../performance.md) explains what is measured and what limits it. Ratios of "
        "one run can be\ncompared with those of another machine; milliseconds cannot.\n\n"
        "![Medians of every subject](images/speed.png)",
    ),
    "artifacts": (
        "Artifacts of each runtime",
        "What samclip-tiny and a ViT-B become for each runtime: sizes, build times, and how close "
        "each artifact is\nto eager torch. [Precision and verification](../concepts/precision.md) "
        "explains the bounds. The measurement ran on one thread, beside\nother work: seconds are "
        "no more than a hint.",
    ),
    "training_cost": (
        "What a merge costs",
        "The floating-point operations of each stage of [training](../training.md), and the hours "
        "that follow from\nthem. Operations are counted, hours are worked out: nothing is run.",
    ),
    "paper": ("The paper's findings, on a small scale", paper_report.INTRODUCTION),
}
"""Title, and what a page begins with."""


def render_pages(root: Path) -> dict[str, str]:
    """Address -> text, of every page and file that is made of the records under `root`.

    Raises:
        OSError: a record or a page is missing.
        ValueError: a record is not of this version, or a page has no place for its table.
    """
    folder = root / RECORDS
    quality = read_record(Quality, folder / "quality.json")
    speed = read_record(Speed, folder / "speed.json")
    artifacts = read_record(Artifacts, folder / "artifacts.json")
    cost = read_record(TrainingCost, folder / "training_cost.json")
    paper = read_record(Results, folder / "paper.json")
    table = quality_report.render(quality)
    bodies = {
        "quality": table,
        "speed": speed_report.render(speed),
        "artifacts": artifacts_report.render(artifacts),
        "training_cost": render_cost(cost),
        "paper": paper_report.render(paper),
    }
    found = {f"{RECORDS}/{name}.md": _page(name) + body for name, body in bodies.items()}
    for page in ("README.md", _CARD, SHIPPED):
        text = (root / page).read_text(encoding="utf-8")
        found[page] = insert_table(text, table, name="quality")
    summary = speed_report.render_summary(speed)
    found["README.md"] = insert_table(found["README.md"], summary, name="speed")
    found[f"{RECORDS}/speed.schema.json"] = published_schema()
    return found


def stale_pages(root: Path) -> list[str]:
    """The addresses of pages that do not show what was measured, or are not there."""
    return [
        page
        for page, text in render_pages(root).items()
        if not (root / page).is_file() or (root / page).read_text(encoding="utf-8") != text
    ]


def write_pages(root: Path) -> Iterator[str]:
    """Writes every page that is not current, and all charts; yields what was written.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
        ValueError: the embedded bundle's model card is not current.
    """
    # Only here: matplotlib is for charts alone.
    from benchmarks.paper.charts import draw_charts
    from benchmarks.speed.report import draw_chart

    folder = root / RECORDS
    # All in memory first: if one fails, no file is changed.
    files = {page: text.encode() for page, text in render_pages(root).items()}
    charts = {"speed": draw_chart(read_record(Speed, folder / "speed.json"))}
    charts |= draw_charts(read_record(Results, folder / "paper.json"))
    files |= {f"{RECORDS}/images/{name}.png": drawn for name, drawn in charts.items()}
    card = files.pop(SHIPPED)
    for page, content in files.items():
        path = root / page
        if not path.is_file() or path.read_bytes() != content:
            with atomic_file(path) as file:
                file.write(content)
            yield page
    if (root / SHIPPED).read_bytes() != card:
        raise ValueError(f"{SHIPPED} shows another record: export {Path(_CARD).parent} again")


def _page(name: str) -> str:
    title, text = _INTRODUCTIONS[name]
    return _GENERATED.format(title=title, text=text, name=name, command=name.replace("_", "-"))
