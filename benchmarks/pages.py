"""Every page that shows measured figures: of which record it is made, and whether it is current.

A page is prose, with tables between markers. Only what is between them is written here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from benchmarks import encoder_cost, training_cost
from benchmarks.artifacts import record as artifacts_record
from benchmarks.paper import report as paper_report
from benchmarks.paper.record import Results
from benchmarks.photographs import report as photographs_report
from benchmarks.photographs.record import PhotographQuality
from benchmarks.quality import record as quality_record
from benchmarks.record import read_record
from benchmarks.report import insert_tables, join_tables
from benchmarks.speed import report as speed_report
from benchmarks.speed.record import Speed
from samclip_sdk.atomic_file import atomic_file

ROOT = Path(__file__).parents[1]
RECORDS = Path("docs/benchmarks")
SHIPPED = "samclip_sdk/assets/samclip-tiny/README.md"
"""The embedded bundle's model card. Its manifest has its checksum, so that only an export of the
checkpoint, whose card.md is the source, may write it."""

_PHOTOGRAPHS = "quality_photographs.json"  # not every checkout has measured them
_CARD = "training/checkpoints/tiny/stage3/card.md"


def render_pages(root: Path) -> dict[str, str]:
    """Address -> text, of every page and file that is made of the records under `root`.

    Raises:
        OSError: a record or a page is missing.
        ValueError: a record is not of this version, or a page has no place for a table.
    """
    folder = root / RECORDS
    speed = read_record(Speed, folder / "speed.json")
    artifacts = read_record(artifacts_record.Artifacts, folder / "artifacts.json")
    cost = read_record(training_cost.TrainingCost, folder / "training_cost.json")
    encoders = read_record(encoder_cost.EncoderCosts, folder / "encoders.json")
    paper = read_record(Results, folder / "paper.json")
    quality = read_record(quality_record.Quality, folder / "quality.json")
    card = {"quality": quality_record.render(quality)}
    tables = {
        "README.md": card | {"speed": speed_report.render_summary(speed)},
        _CARD: card,
        SHIPPED: card,
        f"{RECORDS}/quality.md": card,
        f"{RECORDS}/speed.md": speed_report.render(speed),
        f"{RECORDS}/artifacts.md": {"artifacts": artifacts_record.render(artifacts)},
        f"{RECORDS}/training_cost.md": {"training_cost": training_cost.render(cost)},
        "docs/performance.md": {"encoders": encoder_cost.render(encoders)},
        f"{RECORDS}/paper.md": paper_report.render(paper),
    }
    if (folder / _PHOTOGRAPHS).is_file():
        photographs = read_record(PhotographQuality, folder / _PHOTOGRAPHS)
        chart = "![Present labels found against false ones](images/quality_photographs.svg)"
        text = f"{join_tables(photographs_report.render(photographs))}\n\n{chart}\n"
        tables[f"{RECORDS}/quality_photographs.md"] = {"quality_photographs": text}
    found = {
        page: insert_tables((root / page).read_text(encoding="utf-8"), own)
        for page, own in tables.items()
    }
    schema = json.dumps(Speed.model_json_schema(), indent=1)
    return found | {f"{RECORDS}/speed.schema.json": f"{schema}\n"}


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
    folder = root / RECORDS
    # All in memory first: if one fails, no file is changed.
    files = {page: text.encode() for page, text in render_pages(root).items()}
    charts = {"speed": speed_report.draw_chart(read_record(Speed, folder / "speed.json"))}
    charts |= paper_report.draw_charts(read_record(Results, folder / "paper.json"))
    files |= {f"{RECORDS}/images/{name}.png": drawn for name, drawn in charts.items()}
    if (folder / _PHOTOGRAPHS).is_file():
        photographs = read_record(PhotographQuality, folder / _PHOTOGRAPHS)
        curve = photographs_report.draw_curve(photographs)
        files[f"{RECORDS}/images/quality_photographs.svg"] = curve
    card = files.pop(SHIPPED)
    for page, content in files.items():
        path = root / page
        if not path.is_file() or path.read_bytes() != content:
            with atomic_file(path) as file:
                file.write(content)
            yield page
    if (root / SHIPPED).read_bytes() != card:
        raise ValueError(f"{SHIPPED} shows another record: export {Path(_CARD).parent} again")
