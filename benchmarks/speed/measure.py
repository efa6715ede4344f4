"""Measures subjects in rounds: each in turn, in a fresh process, which only the parent drives.

Fresh processes cost a load in every round, and give back what kept ones cannot: memory that is the
subject's own however many there are, and loading and first runs measured as often as there are
rounds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.speed.device import gpu_memory_bytes
from benchmarks.speed.process import SubjectError, WorkerProcess, publishable
from benchmarks.speed.schema import Failure, Settings, SubjectRow, WorkloadRow
from benchmarks.speed.subject import WORKLOADS
from samclip_sdk.timing import Timing, WorkloadRuns, summarize_steps, time_workload

_DIGITS = 3  # microseconds


@dataclass
class _Collected:
    """What the rounds have told of a subject so far."""

    opened: list[dict[str, Any]] = field(default_factory=list)
    runs: dict[str, list[WorkloadRuns]] = field(default_factory=dict)
    steps: list[dict[str, float]] = field(default_factory=list)
    peak_rss_bytes: list[int] = field(default_factory=list)
    gpu_memory_bytes: list[int] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)


def measure_subjects(
    specs: Sequence[str],
    *,
    settings: Settings,
    limit_s: float,
    on_progress: Callable[[str], None] = lambda doing: None,
) -> tuple[tuple[SubjectRow, ...], tuple[Failure, ...]]:
    """Measures subjects.

    Args:
        specs: as `make_subject` takes them, in the order of each round.
        settings: how often, and for how long.
        limit_s: seconds after which a subject that does not answer has failed.
        on_progress: told what is being done.

    Returns:
        A row for each subject that could be opened, and what subjects failed at. What failed once
        is not tried again.
    """
    collected = {spec: _Collected() for spec in specs}
    spec_of: dict[str, str] = {}
    for number in range(settings.rounds):
        for spec, found in collected.items():
            if "open" in found.failures:
                continue
            on_progress(f"round {number + 1} of {settings.rounds}: {publishable(spec)}")
            with WorkerProcess(limit_s=limit_s) as worker:
                gpu_before = gpu_memory_bytes()
                if _open(spec, found, worker=worker, spec_of=spec_of):
                    _measure_once(found, worker=worker, settings=settings, gpu_before=gpu_before)
    rows = tuple(_row(found) for found in collected.values() if found.opened)
    failures = tuple(
        Failure(
            subject=found.opened[0]["key"] if found.opened else publishable(spec),
            at=at,
            reason=reason,
        )
        for spec, found in collected.items()
        for at, reason in found.failures.items()
    )
    return rows, failures


def _open(spec: str, found: _Collected, *, worker: WorkerProcess, spec_of: dict[str, str]) -> bool:
    """Opens a subject; tells whether it may be measured. Keys must be one subject's each."""
    try:
        opened = worker.open(spec)
    except SubjectError as error:
        found.failures["open"] = str(error)
        return False
    key = opened["key"]
    if spec_of.setdefault(key, spec) != spec:
        found.failures["open"] = f"{publishable(spec_of[key])} has its key, {key}"
        return False
    found.opened.append(opened)
    return True


def _measure_once(
    found: _Collected, *, worker: WorkerProcess, settings: Settings, gpu_before: int | None
) -> None:
    """One round of one subject, which is open."""
    opened = found.opened[-1]
    for name in WORKLOADS:
        if name in opened["workloads"] and name not in found.failures:
            _run_workload(name, found, worker=worker, settings=settings)
            _note_gpu(found, before=gpu_before)
    if opened["adds_up"] and not found.failures:
        parts = [found.runs[name][-1] for name in opened["workloads"]]
        found.runs.setdefault("three_ways", []).append(_in_turn(parts))
    if (peak := worker.memory.overall_bytes()) is not None:
        found.peak_rss_bytes.append(peak)


def _run_workload(
    name: str, found: _Collected, *, worker: WorkerProcess, settings: Settings
) -> None:
    steps: list[dict[str, float]] = []

    def run() -> float:
        ms, told = worker.run(name)
        steps.append(told)
        return ms

    try:
        runs = time_workload(
            run,
            memory=worker.memory,
            seconds=settings.seconds,
            at_least=settings.at_least,
            at_most=settings.at_most,
        )
    except SubjectError as error:
        found.failures[name] = str(error)
    else:
        found.runs.setdefault(name, []).append(runs)
        found.steps += filter(None, steps[-len(runs.samples_ms) :])


def _in_turn(parts: Sequence[WorkloadRuns]) -> WorkloadRuns:
    """What workloads take one after the other, as often as each of them was run."""
    in_turn = zip(*(each.samples_ms for each in parts), strict=False)
    peaks = [each.peak_rss_bytes for each in parts if each.peak_rss_bytes is not None]
    return WorkloadRuns(
        first_ms=round(sum(each.first_ms for each in parts), _DIGITS),
        samples_ms=[sum(samples) for samples in in_turn],
        peak_rss_bytes=max(peaks, default=None),
    )


def _note_gpu(found: _Collected, *, before: int | None) -> None:
    now = gpu_memory_bytes() if before is not None else None
    if before is not None and now is not None:
        found.gpu_memory_bytes.append(max(0, now - before))


def _row(found: _Collected) -> SubjectRow:
    own = found.opened[0]
    return SubjectRow(
        **{name: own[name] for name in ("key", "name", "precision", "notes")},
        package_versions=own["package_versions"],
        artifact_bytes=own["artifact_bytes"],
        import_ms=tuple(round(each["import_ms"], _DIGITS) for each in found.opened),
        load_ms=tuple(round(each["load_ms"], _DIGITS) for each in found.opened),
        workloads=tuple(_workload_row(name, runs) for name, runs in found.runs.items()),
        steps=summarize_steps(found.steps),
        peak_rss_bytes=max(found.peak_rss_bytes, default=None),
        gpu_memory_bytes=max(found.gpu_memory_bytes, default=None),
    )


def _workload_row(name: str, rounds: Sequence[WorkloadRuns]) -> WorkloadRow:
    warm = Timing.of([sample for runs in rounds for sample in runs.samples_ms])
    peaks = [runs.peak_rss_bytes for runs in rounds if runs.peak_rss_bytes is not None]
    return WorkloadRow(
        workload=name,
        first_ms=tuple(runs.first_ms for runs in rounds),
        warm=warm,
        rounds_p50_ms=tuple(Timing.of(runs.samples_ms).p50_ms for runs in rounds),
        images_per_s=round(1000 / warm.mean_ms, _DIGITS),
        peak_rss_bytes=max(peaks, default=None),
    )
