"""What a latency benchmark found: the schema of latency.json, and of docs/latency.schema.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from benchmarks.record import Environment
from samclip_sdk.timing import Timing

SCHEMA_VERSION: Final = 1


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Clock(_Record):
    """A clock's range, and what it was at, in MHz."""

    min_mhz: float
    max_mhz: float
    current_mhz: float


class Gpu(_Record):
    """An NVIDIA GPU, by nvidia-smi; what the driver does not tell is null."""

    name: str
    driver: str
    memory_mb: float | None
    max_sm_clock_mhz: float | None
    power_limit_w: float | None


class Jetson(_Record):
    """A Jetson. `clocks` are those of jetson_clocks, which tells them to root only."""

    model: str
    l4t: str | None
    power_mode: str | None
    clocks: dict[str, Clock]


class Mac(_Record):
    """A Mac. `power_source` is "AC Power" or "Battery Power"."""

    chip: str | None
    macos: str | None
    power_source: str | None


class Device(_Record):
    """The machine. What it does not tell is null.

    `cpu_flags` are those that matrix products depend on; `usable_cores` those that this process may
    run on; `cpu_quota` the cores' worth of time, and `memory_limit_bytes` the memory, that its
    container is limited to.
    """

    system: str
    cpu: str
    cpu_flags: tuple[str, ...]
    cores: int
    usable_cores: int | None
    cpu_quota: float | None
    governor: str | None
    max_clock_mhz: float | None
    memory_bytes: int | None
    memory_limit_bytes: int | None
    gpus: tuple[Gpu, ...]
    jetson: Jetson | None
    mac: Mac | None


class GpuState(_Record):
    """A GPU's clock, power, temperature and memory in use, at a moment."""

    sm_clock_mhz: float | None
    power_w: float | None
    temperature_c: float | None
    memory_used_mb: float | None


class State(_Record):
    """What changes while a benchmark runs, at a moment.

    `load_average` is the system's of 1, 5 and 15 minutes; `power_mw` and `temperatures_c` are a
    Jetson's, by rail and by sensor; `speed_limit_percent` is a Mac's: below 100 it is throttled.
    """

    load_average: tuple[float, float, float] | None
    gpus: tuple[GpuState, ...]
    power_mw: dict[str, int]
    temperatures_c: dict[str, float]
    speed_limit_percent: int | None


class Settings(_Record):
    """How it was measured.

    In each round, every subject in turn is opened in a fresh process, measured and closed, so that
    the machine's drift falls on all alike and no subject's memory is another's. A workload's first
    run is followed by a warm-up of a fifth of `seconds`, one run at least, then by runs for
    `seconds`: at least `at_least`, at most `at_most`. The system's file cache is not emptied: it is
    as it was found in the first round, and warm in those after it.
    """

    rounds: int = Field(gt=0)
    seconds: float = Field(ge=0)
    at_least: int = Field(gt=0)
    at_most: int = Field(gt=0)
    baseline: str | None = Field(description="the key of the subject that others are compared with")


class WorkloadRow(_Record):
    """A workload of a subject.

    `first_ms` is, by round, the first run of a fresh process; what is opened when it is first
    needed is counted in. `warm` is of the runs of all rounds, `rounds_p50_ms` the median of each.
    `images_per_s` is of one at a time, 1000 by the mean. `peak_rss_bytes` is the most memory that
    the process held during the warm runs of any round.
    """

    workload: str
    first_ms: tuple[float, ...] = Field(min_length=1)
    warm: Timing
    rounds_p50_ms: tuple[float, ...] = Field(min_length=1)
    images_per_s: float
    peak_rss_bytes: int | None


class SubjectRow(_Record):
    """A subject that was opened.

    `import_ms` and `load_ms` are, by round, importing packages and then loading. `steps` are those
    of three_ways's warm runs, by name. `peak_rss_bytes` is the most memory that the process held,
    from its start; `gpu_memory_bytes` what the GPU held after a workload beyond what it did before
    the process, whoever held it.
    """

    key: str
    name: str
    precision: str
    notes: str
    package_versions: dict[str, str]
    artifact_bytes: int
    import_ms: tuple[float, ...] = Field(min_length=1)
    load_ms: tuple[float, ...] = Field(min_length=1)
    workloads: tuple[WorkloadRow, ...]
    steps: dict[str, Timing]
    peak_rss_bytes: int | None
    gpu_memory_bytes: int | None

    def workload(self, name: str) -> WorkloadRow | None:
        """The row of a workload; None if the subject lacks it."""
        return next((row for row in self.workloads if row.workload == name), None)


class Failure(_Record):
    """What a subject did not do: `at` is "open" or a workload; `reason` its own words."""

    subject: str
    at: str
    reason: str


class Latency(_Record):
    """The whole of latency.json."""

    schema_version: Literal[1] = SCHEMA_VERSION
    environment: Environment
    device: Device
    before: State
    after: State
    settings: Settings
    subjects: tuple[SubjectRow, ...]
    failures: tuple[Failure, ...]

    @model_validator(mode="after")
    def _check(self) -> Latency:
        keys = [row.key for row in self.subjects]
        if len(set(keys)) < len(keys):
            raise ValueError(f"two subjects have one key: {', '.join(keys)}")
        return self

    def subject(self, key: str) -> SubjectRow | None:
        """The row of a subject; None if it is not there."""
        return next((row for row in self.subjects if row.key == key), None)


def read_latency(path: Path) -> Latency:
    """Reads latency.json.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not what this schema says.
    """
    return Latency.model_validate_json(path.read_bytes())


def published_schema() -> str:
    """The JSON schema of latency.json, as docs/latency.schema.json holds it."""
    return json.dumps(Latency.model_json_schema(), indent=1) + "\n"
