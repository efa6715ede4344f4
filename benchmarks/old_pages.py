"""The pages that are still made of records of their own; each suite that moves leaves here."""

from __future__ import annotations

from pathlib import Path

from benchmarks import costs
from benchmarks.artifacts import record as artifacts_record
from benchmarks.record import AnyRecord, read_record
from benchmarks.reliability import record as reliability_record
from benchmarks.speed import report as speed_report
from benchmarks.speed.record import Speed

RECORDS = "docs/benchmarks"
SPEEDS = ("speed", "speed_vit_b")


def _read(kind: type[AnyRecord], root: Path, name: str) -> AnyRecord:
    return read_record(kind, root / RECORDS / f"{name}.json")


def render_pages(root: Path) -> dict[str, dict[str, str]]:
    """Page -> marker -> text."""

    def read(kind: type[AnyRecord], name: str) -> AnyRecord:
        return _read(kind, root, name)

    speed, vit_b = (read(Speed, name) for name in SPEEDS)
    artifacts = artifacts_record.render(read(artifacts_record.Artifacts, "artifacts"))
    training = costs.render_training(read(costs.TrainingCost, "training_cost"))
    encoders = costs.render_encoders(read(costs.EncoderCosts, "encoders"))
    annotating = costs.render_annotation(read(costs.AnnotationCosts, "annotate"))
    held = reliability_record.render(read(reliability_record.Reliability, "reliability"))
    return {
        "README.md": {"speed": speed_report.render_summary(speed)},
        "docs/performance.md": {"encoders": encoders},
        "docs/reliability.md": held,
        "docs/how-to/many-machines.md": annotating,
        f"{RECORDS}/speed.md": speed_report.render_default(speed),
        f"{RECORDS}/speed_vit_b.md": speed_report.render_vit_b(vit_b),
        f"{RECORDS}/artifacts.md": {"artifacts": artifacts},
        f"{RECORDS}/training_cost.md": {"training_cost": training},
    }


def draw_charts(root: Path) -> dict[str, bytes]:
    """File -> chart."""
    return {
        f"{name}.png": speed_report.draw_chart(speed)
        for name in SPEEDS
        if (speed := _read(Speed, root, name)).subjects
    }
