"""Dates, times by step, repeated runs and their percentiles, and the peak of a process's memory."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TypeVar

import numpy as np

Outcome = TypeVar("Outcome")

_DIGITS = 3  # microseconds
_WARM_UP_SHARE = 0.2  # a share of the seconds that a workload is timed for
_FEWEST_FOR_TAILS = 20  # runs; with fewer, p90 and p99 are hardly more than the slowest
_FAST_MS = 1000.0
_FEWEST_FAST = 10  # runs that count, of a workload that takes less than that


def utc_now() -> str:
    """The time of the clock on the wall, in UTC, as ISO 8601 to the second."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


class Stopwatch:
    """Milliseconds by step. A step that runs more than once adds up."""

    def __init__(self) -> None:
        self.ms: dict[str, float] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Times the block inside."""
        start = time.perf_counter()
        yield
        self.ms[name] = self.ms.get(name, 0.0) + 1000 * (time.perf_counter() - start)


@dataclass(frozen=True)
class Timing:
    """Milliseconds of repeated runs. Percentiles interpolate.

    Attributes:
        n: the number of runs.
        mean_ms: their mean.
        min_ms: the fastest run.
        p50_ms: the median.
        p90_ms: 90% were as fast or faster; None for fewer than 20 runs, which do not tell.
        p99_ms: 99% were as fast or faster; None likewise.
    """

    n: int
    mean_ms: float
    min_ms: float
    p50_ms: float
    p90_ms: float | None
    p99_ms: float | None

    @classmethod
    def of(cls, samples_ms: Sequence[float]) -> Timing:
        """Summarizes milliseconds.

        Raises:
            ValueError: there is no run.
        """
        if not samples_ms:
            raise ValueError("there is no run to summarize")
        values = [np.mean(samples_ms), min(samples_ms), *np.percentile(samples_ms, (50, 90, 99))]
        mean, minimum, p50, p90, p99 = (round(float(value), _DIGITS) for value in values)
        tails = (p90, p99) if len(samples_ms) >= _FEWEST_FOR_TAILS else (None, None)
        return cls(len(samples_ms), mean, minimum, p50, *tails)


def elapsed_ms(work: Callable[[], object]) -> float:
    """Runs a function once; returns the milliseconds that it took."""
    start = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - start)


def repeat(
    run: Callable[[], Outcome], *, seconds: float, min_runs: int = 3, max_runs: int = 1000
) -> list[Outcome]:
    """Runs a function until a time budget is spent.

    Args:
        run: the function.
        seconds: the budget; no run is started after it.
        min_runs: the number of runs even if they take longer.
        max_runs: the number of runs even if time is left.

    Returns:
        The result of each run, in order.
    """
    until = time.perf_counter() + seconds
    outcomes: list[Outcome] = []
    while len(outcomes) < min_runs or (len(outcomes) < max_runs and time.perf_counter() < until):
        outcomes.append(run())
    return outcomes


def time_in_turns(
    one: Callable[[], object],
    other: Callable[[], object],
    *,
    seconds: float,
    min_runs: int,
    max_runs: int,
) -> list[tuple[float, float]]:
    """Times two functions in turns, so that what else the machine does slows both down alike.

    Args:
        one: a function; it runs first in every second turn.
        other: the function that it is compared with.
        seconds: the budget; no turn is started after it.
        min_runs: the number of turns even if they take longer.
        max_runs: the number of turns even if time is left.

    Returns:
        The milliseconds of both, for each turn.
    """
    one_first = True

    def turn() -> tuple[float, float]:
        nonlocal one_first
        one_first = not one_first
        if one_first:
            return elapsed_ms(one), elapsed_ms(other)
        later = elapsed_ms(other)
        return elapsed_ms(one), later

    return repeat(turn, seconds=seconds, min_runs=min_runs, max_runs=max_runs)


@dataclass(frozen=True)
class WorkloadRuns:
    """A workload's runs in one process.

    Attributes:
        first_ms: milliseconds of the first run.
        samples_ms: milliseconds of the runs that count.
        peak_rss_bytes: the most memory that the process held during these; None if the system
            does not tell.
    """

    first_ms: float
    samples_ms: list[float]
    peak_rss_bytes: int | None


def time_workload(
    run: Callable[[], float],
    *,
    memory: PeakMemory,
    seconds: float,
    min_runs: int = 3,
    max_runs: int = 1000,
) -> WorkloadRuns:
    """Times a workload: the first run, a warm-up, then the runs that count.

    Args:
        run: runs it once and returns the milliseconds.
        memory: the peak memory of the process that runs it.
        seconds: the budget for the runs that count; the warm-up takes a fifth of it, and one run
            at least.
        min_runs: how many runs count even if they take longer; ten if a run takes less than a
            second.
        max_runs: how many runs count even if time is left.
    """
    first_ms = run()
    warm_up = repeat(run, seconds=_WARM_UP_SHARE * seconds, min_runs=1, max_runs=max_runs)
    if warm_up[-1] < _FAST_MS:
        min_runs = max(min_runs, _FEWEST_FAST)
    memory.restart()
    samples = repeat(run, seconds=seconds, min_runs=min_runs, max_runs=max_runs)
    return WorkloadRuns(round(first_ms, _DIGITS), samples, memory.restart())


def summarize_steps(runs: Sequence[Mapping[str, float]]) -> dict[str, Timing]:
    """Summarizes runs that each gave milliseconds by step, in the order of the steps."""
    names = dict.fromkeys(name for run in runs for name in run)
    return {name: Timing.of([run[name] for run in runs if name in run]) for name in names}


class PeakMemory:
    """The most physical memory that a process has held.

    Args:
        pid: the process's id; this process if None.
    """

    def __init__(self, pid: int | None = None) -> None:
        self._pid = pid
        self._restarted = False
        self._overall = 0

    def restart(self) -> int | None:
        """Starts the peak anew from the memory that is held now.

        Returns:
            The peak since the last restart, in bytes. None at the first restart, and if the system
            cannot start it anew.
        """
        peak = peak_rss_bytes(self._pid)
        self._overall = max(self._overall, peak or 0)
        since, self._restarted = peak if self._restarted else None, self._reset()
        return since

    def overall_bytes(self) -> int | None:
        """The peak over all restarts, in bytes; None if the system does not tell."""
        return max(self._overall, peak_rss_bytes(self._pid) or 0) or None

    def _reset(self) -> bool:
        try:
            # "5" asks Linux for just that; see proc_pid_clear_refs(5).
            Path(f"/proc/{self._pid or 'self'}/clear_refs").write_text("5", encoding="ascii")
        except OSError:
            return False
        return True


def peak_rss_bytes(pid: int | None = None) -> int | None:
    """The most physical memory that a process has held, in bytes.

    Args:
        pid: the process's id; this process if None.

    Returns:
        None if the system does not tell; only Linux tells the peak of another process.
    """
    # Not getrusage on Linux: its peak is inherited from the parent process.
    with suppress(OSError):
        status = Path(f"/proc/{pid or 'self'}/status").read_text(encoding="utf-8")
        return parse_peak_rss(status)
    if pid is not None or sys.platform == "win32":
        return None
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes, on a Mac


def parse_peak_rss(status: str) -> int | None:
    """Reads the peak, in bytes, from the text of /proc/PID/status; None if it is not there."""
    for line in status.splitlines():
        name, _, value = line.partition(":")
        if name == "VmHWM":
            return 1024 * int(value.split()[0])
    return None
