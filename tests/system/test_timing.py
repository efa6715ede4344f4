from __future__ import annotations

import mmap
import os
import sys
import time
from collections.abc import Callable

import pytest

from samclip_sdk.system.timing import (
    PeakMemory,
    Timing,
    peak_rss_bytes,
    repeat,
    time_in_turns,
    time_workload,
)


def test_percentiles() -> None:
    found = Timing.of([float(ms) for ms in range(1, 102)])
    assert found == Timing(n=101, mean_ms=51, min_ms=1, p50_ms=51, p90_ms=91, p99_ms=100)
    assert Timing.of([2.0]) == Timing(n=1, mean_ms=2, min_ms=2, p50_ms=2, p90_ms=None, p99_ms=None)
    with pytest.raises(ValueError, match="no run"):
        Timing.of([])


@pytest.mark.parametrize(
    ("seconds", "min_runs", "max_runs", "runs"),
    [(0, 3, 9, 3), (1, 3, 9, 9), (0.45, 1, 9, 5), (0.45, 7, 9, 7)],
)
def test_a_budget_is_spent(
    seconds: float, min_runs: int, max_runs: int, runs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0

    def run() -> float:
        nonlocal now
        now += 0.1
        return now

    monkeypatch.setattr(time, "perf_counter", lambda: now)
    assert len(repeat(run, seconds=seconds, min_runs=min_runs, max_runs=max_runs)) == runs


def test_what_else_the_machine_does_slows_both_down_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is three times as slow from the fourth second on, and neither always goes first."""
    now, order = 0.0, []

    def work(name: str, seconds: float) -> Callable[[], None]:
        def run() -> None:
            nonlocal now
            order.append(name)
            now += seconds * (3 if now >= 4 else 1)

        return run

    monkeypatch.setattr(time, "perf_counter", lambda: now)
    turns = time_in_turns(work("a", 1.0), work("b", 2.0), seconds=0, min_runs=6, max_runs=6)
    assert order == ["b", "a", "a", "b"] * 3
    assert [other / one for one, other in turns] == pytest.approx([2, 6, 2, 2, 2, 2])


def test_the_first_run_and_the_warm_up_do_not_count() -> None:
    times = iter(range(100))
    runs = time_workload(lambda: float(next(times)), memory=PeakMemory(), seconds=0)
    assert runs.first_ms == 0
    assert runs.samples_ms == [*range(2, 12)]


@pytest.mark.parametrize(("ms", "runs"), [(999.0, 10), (1000.0, 3)])
def test_what_takes_less_than_a_second_runs_ten_times(ms: float, runs: int) -> None:
    timed = time_workload(lambda: ms, memory=PeakMemory(), seconds=0)
    assert timed.samples_ms == [ms] * runs


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets the peak start anew")
def test_a_peak_is_seen_and_passes() -> None:
    memory = PeakMemory(os.getpid())
    assert memory.restart() is None
    quiet = memory.restart()
    with mmap.mmap(-1, 60_000_000) as pages:  # the allocator may keep what an array gives back
        for page in range(0, len(pages), mmap.PAGESIZE):
            pages[page] = 1
    high, after = memory.restart(), memory.restart()
    assert quiet is not None
    assert high is not None
    assert after is not None
    assert high - quiet >= 45_000_000
    assert high - after >= 45_000_000
    overall = memory.overall_bytes()
    assert overall is not None
    assert overall >= high
    assert peak_rss_bytes(2**22 + 1) is None  # beyond any pid of Linux
