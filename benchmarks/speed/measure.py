"""Measures subjects in rounds: each in turn, in a fresh process, which only the parent drives.

So memory is the subject's own, first runs are measured in every round, and the machine's drift
falls on all alike. pyperf is not used: a process of its own would time one workload, where here all
workloads of a round share one loaded model; and it runs one subject after another.
"""

from __future__ import annotations

import multiprocessing
import os
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, TimeoutError
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from benchmarks.intervals import Estimate, over_rounds
from benchmarks.speed.subject import attempt, open_subject, redirect_output, run_workload
from benchmarks.suite import Measuring
from benchmarks.table import publishable
from samclip_sdk.system.timing import PeakMemory, Timing, WorkloadRuns, time_workload

MAX_RUNS = 200
"""Runs of a workload in a round."""

_DIGITS = 3  # microseconds


class HowLong(NamedTuple):
    """How subjects are timed.

    A workload's first run is followed by a warm-up of a fifth of `seconds`, one run at least, then
    by runs for `seconds`: at least `min_runs`, ten of what takes less than a second, at most
    `max_runs`. The system's file cache is not emptied: it is as found in the first round, and
    warm in those after it.
    """

    rounds: int
    seconds: float
    min_runs: int = 1
    max_runs: int = MAX_RUNS


@dataclass
class Subject:
    """What the rounds have told of a subject so far: of each workload and step, round by round."""

    spec: str
    opened: list[dict[str, Any]] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)
    runs: dict[str, list[WorkloadRuns]] = field(default_factory=lambda: defaultdict(list))
    steps: dict[str, list[list[float]]] = field(default_factory=lambda: defaultdict(list))
    peaks: list[int | None] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Its key, once it was opened."""
        return self.opened[0]["key"] if self.opened else publishable(self.spec)

    def measure(self, worker: WorkerProcess, how: HowLong, *, owners: dict[str, str]) -> None:
        """One round; `owners` has the spec of each key."""
        try:
            opened = worker.ask(open_subject, self.spec)
            owner = owners.setdefault(opened["key"], self.spec)
            if owner != self.spec:
                raise SubjectError(f"{publishable(owner)} has its key, {opened['key']}")
        except SubjectError as error:
            self.failures["open"] = str(error)
            return
        self.opened.append(opened)
        for name in opened["workloads"]:
            if name not in self.failures:
                self._run_workload(name, worker, how)
        if opened["adds_up"] and not self.failures:
            parts = [self.runs[name][-1] for name in opened["workloads"]]
            first_ms = round(sum(each.first_ms for each in parts), _DIGITS)
            samples_ms = [sum(ms) for ms in zip(*(each.samples_ms for each in parts), strict=False)]
            peak = _maximum(each.peak_rss_bytes for each in parts)
            self.runs["three_ways"].append(WorkloadRuns(first_ms, samples_ms, peak))
        self.peaks.append(worker.memory.overall_bytes())

    def _run_workload(self, name: str, worker: WorkerProcess, how: HowLong) -> None:
        steps: list[dict[str, float]] = []

        def run() -> float:
            ms, told = worker.ask(run_workload, name)
            steps.append(told)
            return ms

        asked = {"seconds": how.seconds, "min_runs": how.min_runs, "max_runs": how.max_runs}
        try:
            runs = time_workload(run, memory=worker.memory, **asked)
        except SubjectError as error:
            self.failures[name] = str(error)
            return
        self.runs[name].append(runs)
        counted = steps[-len(runs.samples_ms) :]
        for step in dict.fromkeys(step for each in counted for step in each):
            self.steps[step].append([each[step] for each in counted if step in each])

    def add_to(self, measured: Measuring) -> None:
        """Gives all figures; a subject that could not be opened has none."""
        if not self.opened:
            return
        first = self.opened[0]
        about = {name: first[name] for name in ("name", "precision", "notes", "versions")}
        measured.settings.setdefault("subjects", {})[self.name] = about
        open_ms = over_rounds([round(each["open_ms"], _DIGITS) for each in self.opened])
        sizes = {"artifact_bytes": first["artifact_bytes"], "peak_rss_bytes": _maximum(self.peaks)}
        measured.add(self.name, n=len(self.opened), open_ms=open_ms, **sizes)
        for name, rounds in self.runs.items():
            figures = summarize([each.samples_ms for each in rounds])
            figures["first_ms"] = over_rounds([each.first_ms for each in rounds])
            figures["peak_rss_bytes"] = _maximum(each.peak_rss_bytes for each in rounds)
            count = sum(len(each.samples_ms) for each in rounds)
            measured.add(self.name, name, n=count, **figures)
        steps = {name: summarize(rounds) for name, rounds in self.steps.items()}
        for name, figures in steps.items():
            count = sum(map(len, self.steps[name]))
            measured.add(self.name, f"step {name}", n=count, **figures)
        rest = [figures["ms"] for name, figures in steps.items() if name != "image_encoder"]
        if "image_encoder" in steps and rest:
            # Of the steps of one workload: two workloads can differ by more than the rest takes.
            total = Estimate(*map(sum, zip(*rest, strict=True)))
            measured.add(self.name, "three_ways", rest_ms=total)


def summarize(rounds: Sequence[Sequence[float]]) -> dict[str, Any]:
    """The runs of all rounds by metric: ms is their median.

    Its limits are of the rounds' medians, or of a single one's runs.
    """
    medians = [Timing.of(each).p50_ms for each in rounds]
    limits = medians if len(medians) > 1 else [round(each, _DIGITS) for each in rounds[0]]
    warm = Timing.of([sample for each in rounds for sample in each])
    ms = Estimate(warm.p50_ms, min(limits), max(limits))
    tails = {name: getattr(warm, name) for name in ("mean_ms", "min_ms", "p90_ms", "p99_ms")}
    return {"ms": ms, **tails}


def measure_subjects(
    measured: Measuring, specs: Sequence[str], *, how: HowLong, limit_s: float = 900
) -> list[Subject]:
    """Measures subjects, as `make_subject` takes them, in the order of each round.

    One that does not answer in `limit_s` seconds has failed. What a subject fails at is said once
    its round is over, and not tried again; it is among the run's settings too.
    """
    every, owners = [Subject(spec) for spec in specs], dict[str, str]()
    failures = measured.settings.setdefault("failures", [])
    for number in range(how.rounds):
        for index, subject in enumerate(each for each in every if "open" not in each.failures):
            doing = f"round {number + 1} of {how.rounds}: {subject.name}"
            measured.say(doing, number * len(every) + index, how.rounds * len(every))
            known = len(subject.failures)
            with WorkerProcess(limit_s=limit_s) as worker:
                subject.measure(worker, how, owners=owners)
            for at, why in list(subject.failures.items())[known:]:
                measured.tell(f"{publishable(subject.spec)}, {at}: failed, {why}")
                failures.append({"subject": subject.name, "at": at, "reason": why})
    return every


def _maximum(sizes: Iterable[int | None]) -> int | None:
    return max((size for size in sizes if size is not None), default=None)


class SubjectError(Exception):
    """A subject did not do what it was asked; the message is the reason, in one line."""


class WorkerProcess:
    """A fresh process, until it is closed. A context manager.

    After `limit_s` seconds an answer is given up, and the process ended. `memory` is the peak
    memory of the process.
    """

    def __init__(self, *, limit_s: float) -> None:
        self.limit_s = limit_s
        self._folder = tempfile.TemporaryDirectory()
        self._said = Path(self._folder.name, "said")
        # Spawned: a forked process would hold all that this one has imported.
        spawn = multiprocessing.get_context("spawn")
        self._pool = ProcessPoolExecutor(1, spawn, redirect_output, (str(self._said),))
        self._process = psutil.Process(self._pool.submit(os.getpid).result())
        self.memory = PeakMemory(self._process.pid)

    def __enter__(self) -> WorkerProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()
        self._pool.shutdown()
        self._folder.cleanup()

    def _end(self) -> None:
        with suppress(psutil.NoSuchProcess):
            self._process.kill()

    def ask(self, work: Callable[[str], Any], argument: str) -> Any:
        """Does `open_subject` or `run_workload` there."""
        try:
            went_well, told = self._pool.submit(attempt, work, argument).result(self.limit_s)
        except TimeoutError as error:
            self._end()
            raise SubjectError(f"no answer within {self.limit_s:g} s") from error
        except BrokenProcessPool as error:
            said = self._said.read_text(errors="replace").strip() or "it said nothing"
            last = publishable(said.splitlines()[-1])
            raise SubjectError(f"the process ended: {last}") from error
        if not went_well:
            raise SubjectError(publishable(told))
        return told
