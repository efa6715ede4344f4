"""A speed.json as it may be, for tests of what reads one."""

from __future__ import annotations

from typing import Any

from benchmarks.record import describe_environment
from benchmarks.speed.measure import summarize
from benchmarks.speed.record import (
    Device,
    Failure,
    Settings,
    Speed,
    Spread,
    State,
    SubjectRow,
    WorkloadRow,
)

DEVICE = Device(
    system="Linux",
    cpu="A CPU",
    cpu_flags=("avx2",),
    cores=4,
    usable_cores=2,
    memory_bytes=8_000_000_000,
    told={"governor": "performance"},
)
IDLE = State(load_average=(0.1, 0.2, 0.3), told={})


def workload_row(workload: str, *rounds_ms: float) -> WorkloadRow:
    """One run a round."""
    times = summarize([[each] for each in rounds_ms])
    return WorkloadRow(
        **dict(times),
        workload=workload,
        first_ms=tuple(2 * each for each in rounds_ms),
        images_per_s=1000 / times.warm.mean_ms,
        peak_rss_bytes=90_000_000,
    )


def subject_row(key: str, *workloads: WorkloadRow, **changes: Any) -> SubjectRow:
    row = SubjectRow(
        key=key,
        name=f"the {key}",
        precision="fp32",
        notes="random weights",
        package_versions={"onnxruntime": "1.20"},
        artifact_bytes=17_500_000,
        import_ms=(200.0, 300.0),
        load_ms=(300.0, 400.0),
        workloads=workloads,
        steps={"image_encoder": summarize([[80.0], [90.0]])},
        peak_rss_bytes=100_000_000,
        gpu_memory_bytes=None,
    )
    return row.model_copy(update=changes)


def speed_of(*subjects: SubjectRow, failures: tuple[Failure, ...] = (), **changes: Any) -> Speed:
    record = Speed(
        environment=describe_environment(["speed"]),
        seconds=1.0,
        device=DEVICE,
        before=IDLE,
        after=IDLE,
        settings=Settings(rounds=2, seconds=1, at_least=3, at_most=9, baseline=None),
        subjects=subjects,
        failures=failures,
    )
    return record.model_copy(update=changes)


def spread(p50_ms: float, low_ms: float | None, high_ms: float | None) -> Spread:
    return Spread(p50_ms=p50_ms, low_ms=low_ms, high_ms=high_ms)
