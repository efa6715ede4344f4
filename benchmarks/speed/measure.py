"""Measures subjects in rounds: each in turn, in a fresh process, which only the parent drives.

So memory is the subject's own, and loading and first runs are measured in every round. The parent
reads their memory, and tells why one did not answer. It also describes the machine and its state.
"""

from __future__ import annotations

import multiprocessing
import os
import platform
import re
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from benchmarks.record import publishable
from benchmarks.speed import record
from benchmarks.speed.subject import serve
from samclip_sdk.system.hardware import ask_program, cpu_name, read_file
from samclip_sdk.system.timing import PeakMemory, Timing, WorkloadRuns, time_workload

_CPUFREQ = "/sys/devices/system/cpu/cpu0/cpufreq"
# Name -> a file, or a command, that tells of limits, clocks, GPUs, a Jetson or a Mac.
_DEVICE = {
    "governor": f"{_CPUFREQ}/scaling_governor",
    "max_khz": f"{_CPUFREQ}/cpuinfo_max_freq",
    "cpu_limit": "/sys/fs/cgroup/cpu.max",
    "memory_limit": "/sys/fs/cgroup/memory.max",
    "gpus": "nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.max.sm,power.limit "
    "--format=csv,noheader",
    "jetson": "/proc/device-tree/model",
    "jetson_linux": "/etc/nv_tegra_release",
    "power_mode": "nvpmodel -q",
    "macos": "sw_vers -productVersion",
    "power_source": "pmset -g ps",
}
_STATE = {
    "gpus": "nvidia-smi --query-gpu=clocks.sm,power.draw,temperature.gpu,memory.used "
    "--format=csv,noheader",
    "clocks": "jetson_clocks --show",
    "power": "tegrastats --interval 100",
    "throttling": "pmset -g therm",
}
_MEMORY = {"MB": "nvidia-smi --query-gpu=memory.used --format=csv,noheader,nounits"}
_PATIENCE_S = 2  # tegrastats goes on until it is ended; a line comes every 100 ms
_NOTABLE_FLAGS = (
    *("avx2", "fma", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16"),
    *("amx_tile", "amx_int8", "amx_bf16", "amx_fp16"),
    *("neon", "asimd", "asimdhp", "asimddp", "i8mm", "bf16", "sve", "sve2", "sme"),
)
_DIGITS = 3  # microseconds
_FAREWELL_S = 20


def describe_device() -> record.Device:
    """Describes this machine."""
    told = re.findall(r"^(?:flags|Features)\s*:(.*)", _ask("/proc/cpuinfo"), re.MULTILINE)
    flags = set(" ".join(told).split())
    affinity = getattr(psutil.Process(), "cpu_affinity", None)  # macOS has no such thing
    return record.Device(
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        cpu=cpu_name(),
        cpu_flags=tuple(flag for flag in _NOTABLE_FLAGS if flag in flags),
        cores=os.cpu_count() or 1,
        usable_cores=None if affinity is None else len(affinity()),
        memory_bytes=psutil.virtual_memory().total,
        told=_tell(_DEVICE),
    )


def describe_state() -> record.State:
    """Describes what the machine is doing now."""
    return record.State(load_average=psutil.getloadavg(), told=_tell(_STATE))


def gpu_memory_bytes() -> int | None:
    """The memory in use on all GPUs together, by whomever; None where no one tells."""
    known = re.findall(r"\b\d+\b", _tell(_MEMORY).get("MB", ""))
    return sum(map(int, known)) * 2**20 if known else None  # nvidia-smi's MB are MiB


def _tell(sources: Mapping[str, str]) -> dict[str, str]:
    """What files and programs tell, each in one line; none where they are not, or fail."""
    told = {name: publishable(_ask(source).replace("\0", "")) for name, source in sources.items()}
    return {name: text for name, text in told.items() if text}


def _ask(source: str) -> str:
    if source.startswith("/"):
        return read_file(Path(source))
    return ask_program(*source.split(), patience_s=_PATIENCE_S)


def measure_subjects(
    specs: Sequence[str],
    *,
    settings: record.Settings,
    limit_s: float = 900,
    on_progress: Callable[[str], None] = lambda doing: None,
    on_failure: Callable[[str], None] = lambda what: None,
) -> tuple[tuple[record.SubjectRow, ...], tuple[record.Failure, ...]]:
    """Measures subjects, as `make_subject` takes them, in the order of each round.

    One that does not answer in `limit_s` seconds has failed. `on_failure` is told in a line of what
    a subject failed at, once its round is over.

    Returns:
        A row for each subject that could be opened, and what subjects failed at. What failed once
        is not tried again.
    """
    every = [_Subject(spec) for spec in specs]
    owners: dict[str, str] = {}
    for number in range(settings.rounds):
        for subject in every:
            if "open" in subject.failures:
                continue
            on_progress(f"round {number + 1} of {settings.rounds}: {subject.name}")
            known = len(subject.failures)
            with WorkerProcess(limit_s=limit_s) as worker:
                subject.measure(worker, settings, owners=owners)
            for at, why in list(subject.failures.items())[known:]:
                on_failure(f"{publishable(subject.spec)}, {at}: failed, {why}")
    failures = tuple(
        record.Failure(subject=each.name, at=at, reason=why)
        for each in every
        for at, why in each.failures.items()
    )
    return tuple(each.row() for each in every if each.opened), failures


class _Subject:
    """What the rounds have told of a subject so far."""

    def __init__(self, spec: str) -> None:
        self.spec = spec
        self.opened: list[dict[str, Any]] = []
        self.failures: dict[str, str] = {}
        self._runs: defaultdict[str, list[WorkloadRuns]] = defaultdict(list)
        self._steps: defaultdict[str, list[list[float]]] = defaultdict(list)  # milliseconds
        self._peaks: list[int | None] = []
        self._gpu_memory: list[int] = []

    @property
    def name(self) -> str:
        return self.opened[0]["key"] if self.opened else publishable(self.spec)

    def measure(
        self, worker: WorkerProcess, settings: record.Settings, *, owners: dict[str, str]
    ) -> None:
        """One round; `owners` has the spec of each key."""
        gpu_before = gpu_memory_bytes()
        try:
            opened = worker.ask("open", self.spec)
            owner = owners.setdefault(opened["key"], self.spec)
            if owner != self.spec:
                raise SubjectError(f"{publishable(owner)} has its key, {opened['key']}")
        except SubjectError as error:
            self.failures["open"] = str(error)
            return
        self.opened.append(opened)
        for name in opened["workloads"]:
            if name not in self.failures:
                self._run_workload(name, worker, settings)
                if gpu_before is not None and (now := gpu_memory_bytes()) is not None:
                    self._gpu_memory.append(max(0, now - gpu_before))
        if opened["adds_up"] and not self.failures:
            parts = [self._runs[name][-1] for name in opened["workloads"]]
            first_ms = round(sum(each.first_ms for each in parts), _DIGITS)
            samples_ms = [sum(ms) for ms in zip(*(each.samples_ms for each in parts), strict=False)]
            peak = _most(each.peak_rss_bytes for each in parts)
            self._runs["three_ways"].append(WorkloadRuns(first_ms, samples_ms, peak))
        self._peaks.append(worker.memory.overall_bytes())

    def _run_workload(self, name: str, worker: WorkerProcess, settings: record.Settings) -> None:
        steps: list[dict[str, float]] = []

        def run() -> float:
            ms, told = worker.ask("run", name)
            steps.append(told)
            return ms

        asked = settings.model_dump(include={"seconds", "at_least", "at_most"})
        try:
            runs = time_workload(run, memory=worker.memory, **asked)
        except SubjectError as error:
            self.failures[name] = str(error)
            return
        self._runs[name].append(runs)
        counted = steps[-len(runs.samples_ms) :]
        for step in dict.fromkeys(step for each in counted for step in each):
            self._steps[step].append([each[step] for each in counted if step in each])

    def row(self) -> record.SubjectRow:
        """All rounds."""
        told = ("key", "name", "precision", "notes", "package_versions", "artifact_bytes")
        return record.SubjectRow(
            **{name: self.opened[0][name] for name in told},
            import_ms=tuple(round(each["import_ms"], _DIGITS) for each in self.opened),
            load_ms=tuple(round(each["load_ms"], _DIGITS) for each in self.opened),
            workloads=tuple(_workload_row(name, runs) for name, runs in self._runs.items()),
            steps={name: summarize(rounds) for name, rounds in self._steps.items()},
            peak_rss_bytes=_most(self._peaks),
            gpu_memory_bytes=_most(self._gpu_memory),
        )


def summarize(rounds: Sequence[Sequence[float]]) -> record.Times:
    """The runs of all rounds; limits are of the rounds' medians, or of a single one's runs."""
    medians = tuple(Timing.of(each).p50_ms for each in rounds)
    limits = medians if len(medians) > 1 else [round(each, _DIGITS) for each in rounds[0]]
    warm = Timing.of([sample for each in rounds for sample in each])
    return record.Times(warm=warm, rounds_p50_ms=medians, low_ms=min(limits), high_ms=max(limits))


def _workload_row(name: str, rounds: Sequence[WorkloadRuns]) -> record.WorkloadRow:
    times = summarize([runs.samples_ms for runs in rounds])
    return record.WorkloadRow(
        **dict(times),
        workload=name,
        first_ms=tuple(runs.first_ms for runs in rounds),
        images_per_s=round(1000 / times.warm.mean_ms, _DIGITS),
        peak_rss_bytes=_most(runs.peak_rss_bytes for runs in rounds),
    )


def _most(sizes: Iterable[int | None]) -> int | None:
    return max((size for size in sizes if size is not None), default=None)


class SubjectError(Exception):
    """A subject did not do what it was asked; the message is the reason, in one line."""


class WorkerProcess:
    """A worker in a fresh process, until it is closed. A context manager.

    After `limit_s` seconds an answer is given up, and the process ended. `memory` is the peak
    memory of the process.
    """

    def __init__(self, *, limit_s: float) -> None:
        self.limit_s = limit_s
        self._folder = tempfile.TemporaryDirectory()
        self._said = Path(self._folder.name, "said")
        # Spawned: a forked process would hold all that this one has imported.
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(theirs, str(self._said)))
        self._process.start()
        theirs.close()
        self.memory = PeakMemory(self._process.pid)

    def __enter__(self) -> WorkerProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self._pipe.close()
        self._process.join(_FAREWELL_S)
        self._process.kill()
        self._process.join()
        self._folder.cleanup()

    def ask(self, method: str, argument: str) -> Any:
        """Opens a subject ("open"), or runs a workload of it once ("run"), see `Worker`."""
        try:
            self._pipe.send((method, argument))
            if not self._pipe.poll(self.limit_s):
                self._process.kill()
                raise SubjectError(f"no answer within {self.limit_s:g} s")
            went_well, told = self._pipe.recv()
        except (EOFError, OSError) as error:
            self._process.join(_FAREWELL_S)
            said = self._said.read_text(errors="replace") if self._said.exists() else ""
            last = (said.strip() or "it said nothing").splitlines()[-1]
            how = f"the process ended with code {self._process.exitcode}: {last}"
            raise SubjectError(publishable(how)) from error
        if not went_well:
            raise SubjectError(publishable(told))
        return told
