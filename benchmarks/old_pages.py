"""The pages that are still made of records of their own; each suite that moves leaves here."""

from __future__ import annotations

from pathlib import Path

from benchmarks.paper import report as paper_report
from benchmarks.paper.record import Results
from benchmarks.photographs import held_out_record
from benchmarks.photographs import record as photographs_report
from benchmarks.photographs.record import PhotographQuality
from benchmarks.quality import record as quality_record
from benchmarks.record import AnyRecord, read_record
from benchmarks.report import join_tables

RECORDS = "docs/benchmarks"
CARD = "samclip_sdk/bundle/embedded/samclip-mobile/README.md"
CARD_SOURCE = "training/checkpoints/mobile/refinement/card.md"
_CHART = "\n\n![Present labels found against false ones](images/quality_photographs.svg)\n"


def _read(kind: type[AnyRecord], root: Path, name: str) -> AnyRecord:
    return read_record(kind, root / RECORDS / f"{name}.json")


def render_pages(root: Path) -> dict[str, dict[str, str]]:
    """Page -> marker -> text."""

    def read(kind: type[AnyRecord], name: str) -> AnyRecord:
        return _read(kind, root, name)

    photographs = read(PhotographQuality, "quality_photographs")
    taught = photographs_report.render_taught(read(PhotographQuality, "quality_held_out"))
    unseen = read(held_out_record.HeldOutQuality, "held_out_sets")
    summary = {"quality_photographs": photographs_report.render_summary(photographs)}
    return {
        "README.md": {
            "held_out_sets": held_out_record.render_summary(unseen),
        },
        "docs/results.md": _with_charts(read(Results, "paper_photographs")),
        f"{RECORDS}/quality.md": {
            "quality": quality_record.render(read(quality_record.Quality, "quality"))
        },
        f"{RECORDS}/held_out_sets.md": {
            "held_out_sets": f"{join_tables(held_out_record.render(unseen))}\n"
        },
        f"{RECORDS}/quality_photographs.md": {
            "quality_photographs": f"{join_tables(photographs_report.render(photographs))}{_CHART}",
            "held_out": taught,
        },
        f"{RECORDS}/paper.md": paper_report.render(read(Results, "paper")),
        CARD_SOURCE: summary,
        CARD: summary,
    }


def _with_charts(paper: Results) -> dict[str, str]:
    """The tables of the page on photographs, each with its chart; lambdas are on the other page."""
    tables = paper_report.render(paper)
    del tables["lambdas"]
    for name in paper_report.CHARTS:
        if name in tables and getattr(paper, name) is not None:
            words = name.replace("_", " ")
            tables[name] += f"\n![{words}](benchmarks/images/photographs_{name}.png)\n"
    return tables


def draw_charts(root: Path) -> dict[str, bytes]:
    """File -> chart."""
    charts: dict[str, bytes] = {}
    for name, prefix in (("paper", ""), ("paper_photographs", "photographs_")):
        drawn = paper_report.draw_charts(_read(Results, root, name))
        charts |= {f"{prefix}{part}.png": chart for part, chart in drawn.items()}
    photographs = _read(PhotographQuality, root, "quality_photographs")
    charts["quality_photographs.svg"] = photographs_report.draw_curve(photographs)
    return charts
