"""Every page that shows measured figures: of which record it is made, and whether it is current.

A page is prose, with tables between markers. Only what is between them is written here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from benchmarks import costs
from benchmarks.artifacts import record as artifacts_record
from benchmarks.paper import report as paper_report
from benchmarks.paper.record import Results
from benchmarks.photographs import held_out_record
from benchmarks.photographs import record as photographs_report
from benchmarks.photographs.record import PhotographQuality
from benchmarks.quality import record as quality_record
from benchmarks.record import AnyRecord, read_record
from benchmarks.reliability import record as reliability_record
from benchmarks.report import insert_tables, join_tables
from benchmarks.serve import record as serve_report
from benchmarks.speed import report as speed_report
from benchmarks.speed.record import Speed
from samclip_sdk.system.atomic_file import atomic_file

ROOT = Path(__file__).parents[1]
RECORDS = Path("docs/benchmarks")
SPEEDS = ("speed", "speed_vit_b")
CARD = "samclip_sdk/bundle/embedded/samclip-mobile/README.md"
CARD_SOURCE = "training/checkpoints/mobile/refinement/card.md"
"""The embedded bundle's model card, and what it is made of. The bundle's manifest has the card's
checksum, so that only an export of the checkpoint may write it."""


_CHART = "\n\n![Present labels found against false ones](images/quality_photographs.svg)\n"


def render_pages(root: Path) -> dict[str, str]:
    """Address -> text, of every page and file that is made of the records under `root`."""

    def read(kind: type[AnyRecord], name: str) -> AnyRecord:
        return read_record(kind, root / RECORDS / f"{name}.json")

    speed, vit_b = (read(Speed, name) for name in SPEEDS)
    drawn = {"quality": quality_record.render(read(quality_record.Quality, "quality"))}
    photographs = read(PhotographQuality, "quality_photographs")
    taught = photographs_report.render_taught(read(PhotographQuality, "quality_held_out"))
    unseen = read(held_out_record.HeldOutQuality, "held_out_sets")
    summary = {"quality_photographs": photographs_report.render_summary(photographs)}
    artifacts = artifacts_record.render(read(artifacts_record.Artifacts, "artifacts"))
    training = costs.render_training(read(costs.TrainingCost, "training_cost"))
    encoders = costs.render_encoders(read(costs.EncoderCosts, "encoders"))
    annotating = costs.render_annotation(read(costs.AnnotationCosts, "annotate"))
    serving = serve_report.render(read(serve_report.Serving, "serve"))
    held = reliability_record.render(read(reliability_record.Reliability, "reliability"))
    tables = {
        "README.md": {
            "held_out_sets": held_out_record.render_summary(unseen),
            "speed": speed_report.render_summary(speed),
        },
        "docs/performance.md": {"encoders": encoders},
        "docs/reliability.md": held,
        "docs/results.md": _with_charts(read(Results, "paper_photographs")),
        "docs/how-to/many-machines.md": annotating,
        f"{RECORDS}/quality.md": drawn,
        f"{RECORDS}/held_out_sets.md": {
            "held_out_sets": f"{join_tables(held_out_record.render(unseen))}\n"
        },
        f"{RECORDS}/quality_photographs.md": {
            "quality_photographs": f"{join_tables(photographs_report.render(photographs))}{_CHART}",
            "held_out": taught,
        },
        f"{RECORDS}/speed.md": speed_report.render_default(speed),
        f"{RECORDS}/speed_vit_b.md": speed_report.render_vit_b(vit_b),
        f"{RECORDS}/artifacts.md": {"artifacts": artifacts},
        f"{RECORDS}/training_cost.md": {"training_cost": training},
        f"{RECORDS}/serve.md": {"serve": serving},
        f"{RECORDS}/paper.md": paper_report.render(read(Results, "paper")),
        CARD_SOURCE: summary,
        CARD: summary,
    }
    found = {
        page: insert_tables((root / page).read_text(encoding="utf-8"), own)
        for page, own in tables.items()
    }
    schema = json.dumps(Speed.model_json_schema(), indent=1)
    return found | {f"{RECORDS}/speed.schema.json": f"{schema}\n"}


def _with_charts(paper: Results) -> dict[str, str]:
    """The tables of the page on photographs, each with its chart; lambdas are on the other page."""
    tables = paper_report.render(paper)
    del tables["lambdas"]
    for name in paper_report.CHARTS:
        if name in tables and getattr(paper, name) is not None:
            words = name.replace("_", " ")
            tables[name] += f"\n![{words}](benchmarks/images/photographs_{name}.png)\n"
    return tables


def stale_pages(root: Path) -> list[str]:
    """The addresses of pages that do not show what was measured, or are not there."""
    return [
        page
        for page, text in render_pages(root).items()
        if not (root / page).is_file() or (root / page).read_text(encoding="utf-8") != text
    ]


def write_pages(root: Path) -> Iterator[str]:
    """Writes every page that is not current, and all charts; yields what was written."""
    folder = root / RECORDS
    # All in memory first: if one fails, no file is changed.
    files = {page: text.encode() for page, text in render_pages(root).items()}
    charts = {}
    for name in SPEEDS:
        if (speed := read_record(Speed, folder / f"{name}.json")).subjects:
            charts[name] = speed_report.draw_chart(speed)
    for name, prefix in (("paper", ""), ("paper_photographs", "photographs_")):
        drawn = paper_report.draw_charts(read_record(Results, folder / f"{name}.json"))
        charts |= {f"{prefix}{part}": chart for part, chart in drawn.items()}
    files |= {f"{RECORDS}/images/{name}.png": chart for name, chart in charts.items()}
    photographs = read_record(PhotographQuality, folder / "quality_photographs.json")
    files[f"{RECORDS}/images/quality_photographs.svg"] = photographs_report.draw_curve(photographs)
    card = files.pop(CARD)
    for page, content in files.items():
        path = root / page
        if not path.is_file() or path.read_bytes() != content:
            with atomic_file(path) as file:
                file.write(content)
            yield page
    if (root / CARD).read_bytes() != card:
        checkpoint = Path(CARD_SOURCE).parent
        raise ValueError(f"{CARD} shows another record: export {checkpoint} again")
