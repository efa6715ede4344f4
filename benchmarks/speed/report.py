"""latency.json as Markdown: every subject at every workload, the steps, and how it was measured."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.quality.report import NONE
from benchmarks.speed.schema import Device, Latency, State, SubjectRow
from benchmarks.speed.subject import WORKLOADS
from samclip_sdk.timing import Timing

_WORDS = {
    "encode": "encode, ms",
    "classify": "classify, ms",
    "point": "point, ms",
    "text3": "text-to-mask, ms",
    "three_ways": "all three, ms",
}
_MEGA = 1e6


def render(latency: Latency) -> str:
    """The tables, and under them how they were made."""
    baseline = find_baseline(latency)
    lines = [*_table(latency, baseline=baseline), ""]
    lines += [
        f"- {failure.subject}, {failure.at}: failed, {failure.reason}"
        for failure in latency.failures
    ]
    lines += [""] if latency.failures else []
    for row in latency.subjects:
        if row.steps:
            lines += [*_steps(row), ""]
    lines += [*_notes(latency), "", _footnote(latency, baseline=baseline), ""]
    return "\n".join(lines)


def find_baseline(latency: Latency) -> SubjectRow | None:
    """The subject that the others are compared with; None if none was named, or it failed."""
    key = latency.settings.baseline
    return None if key is None else latency.subject(key)


def _table(latency: Latency, *, baseline: SubjectRow | None) -> Iterator[str]:
    columns = ["precision", *_WORDS.values(), "load, s", "peak MB", "files, MB"]
    yield "| | " + " | ".join(columns) + " |"
    yield "|---|---" + "|---:" * (len(columns) - 1) + "|"
    for row in latency.subjects:
        cells = [row.precision]
        cells += [_cell(row, name, baseline=baseline) for name in WORKLOADS]
        cells += [_load(row), megabytes(row.peak_rss_bytes), megabytes(row.artifact_bytes)]
        yield f"| {row.key} | " + " | ".join(cells) + " |"
    opened = {row.key for row in latency.subjects}
    for failure in latency.failures:
        if failure.subject not in opened:
            yield f"| {failure.subject} | failed |" + f" {NONE} |" * (len(columns) - 1)


def _cell(row: SubjectRow, name: str, *, baseline: SubjectRow | None) -> str:
    found = row.workload(name)
    if found is None:
        return NONE
    own = milliseconds(found.warm.p50_ms)
    base = None if baseline is None or baseline is row else baseline.workload(name)
    return own if base is None else f"{own} ({found.warm.p50_ms / base.warm.p50_ms:.2f}×)"


def milliseconds(value: float) -> str:
    """Three digits, or as many as there are before the point."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _load(row: SubjectRow) -> str:
    """The median over the rounds of importing and loading."""
    totals = [imports + load for imports, load in zip(row.import_ms, row.load_ms, strict=True)]
    return f"{Timing.of(totals).p50_ms / 1000:.2f}"


def megabytes(size: int | None) -> str:
    """Whole megabytes, of 10^6 bytes."""
    return NONE if size is None else f"{size / _MEGA:.0f}"


def _steps(row: SubjectRow) -> Iterator[str]:
    yield f"| {row.key}: step of all three | p50, ms | p90 | p99 | runs |"
    yield "|---|---:|---:|---:|---:|"
    for name, timing in row.steps.items():
        values = (timing.p50_ms, timing.p90_ms, timing.p99_ms)
        yield f"| {name} | {' | '.join(milliseconds(each) for each in values)} | {timing.n} |"


def _notes(latency: Latency) -> Iterator[str]:
    for row in latency.subjects:
        versions = ", ".join(f"{name} {each}" for name, each in row.package_versions.items())
        yield f"- {row.key}: {row.name}, {row.precision}; {row.notes}; {versions}."


def _footnote(latency: Latency, *, baseline: SubjectRow | None) -> str:
    settings, environment = latency.settings, latency.environment
    ratios = "" if baseline is None else f" Ratios are to {baseline.key}."
    if baseline is None and settings.baseline is not None:
        ratios = f" The baseline, {settings.baseline}, was not measured."
    threads = "unset" if environment.threads is None else str(environment.threads)
    return (
        f"Medians of warm runs; {NONE} is a skill that a subject lacks, or failed at.{ratios} Load "
        "is importing and loading in a fresh process, the file cache as it was in the first round "
        "and warm after it; what is opened later is counted in first runs. Peak MB are a process's "
        f"resident memory from its start. {settings.rounds} rounds, the subjects in turn; "
        f"{settings.seconds:g} s a workload and round, {settings.at_least} runs at least. "
        f"{describe_hardware(latency.device)}; OMP_NUM_THREADS {threads}; load average "
        f"{_load_average(latency.before)} before, {_load_average(latency.after)} after; "
        f"{environment.date[:10]}. Measured by `{environment.command}`."
    )


def describe_hardware(device: Device) -> str:
    """The processor, its cores, and what else decides about speed."""
    parts = [device.cpu, f"{device.usable_cores or device.cores} cores"]
    parts += [gpu.name for gpu in device.gpus]
    if device.jetson is not None:
        parts.append(f"power mode {device.jetson.power_mode or 'unknown'}")
    if device.mac is not None:
        parts.append(f"on {device.mac.power_source or 'an unknown power source'}")
    return ", ".join(parts)


def _load_average(state: State) -> str:
    return "unknown" if state.load_average is None else f"{state.load_average[0]:.2f}"
