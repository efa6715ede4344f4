"""The record of speed and memory, of the default model and of ViT-B.

Its schema is docs/benchmarks/speed.schema.json.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from benchmarks.record import Record, Run
from samclip_sdk.system.timing import Timing

WEIGHT_BYTES = {"fp32": 4, "bf16": 2, "fp16": 2, "int8": 1}
"""Of one parameter, by precision."""


class Device(Record):
    """The machine.

    `cpu_flags` are those that matrix products depend on; `usable_cores` those that this process may
    run on, null where the system does not tell. `told` is what files and programs say of limits,
    clocks, GPUs, a Jetson or a Mac, by name and in their own words.
    """

    system: str
    cpu: str
    cpu_flags: tuple[str, ...]
    cores: int
    usable_cores: int | None
    memory_bytes: int | None
    told: dict[str, str]


class State(Record):
    """What changes while a benchmark runs, at a moment.

    `load_average` is the system's of 1, 5 and 15 minutes; `told` is what programs say of clocks,
    power, temperatures, throttling and the GPUs' memory.
    """

    load_average: tuple[float, float, float] | None
    told: dict[str, str]


class Settings(Record):
    """How it was measured.

    In each round, every subject in turn is opened in a fresh process, measured and closed, so that
    the machine's drift falls on all alike and no subject's memory is another's. A workload's first
    run is followed by a warm-up of a fifth of `seconds`, one run at least, then by runs for
    `seconds`: at least `at_least`, ten of what takes less than a second, at most `at_most`. The
    system's file cache is not emptied: it is as it was found in the first round, and warm in those
    after it.
    """

    rounds: int = Field(gt=0)
    seconds: float = Field(ge=0)
    at_least: int = Field(gt=0)
    at_most: int = Field(gt=0)
    baseline: str | None = Field(description="the key of the subject that others are compared with")


class Spread(Record):
    """A median, and between which milliseconds it lay: those of several rounds, or runs of one.

    The limits are null where a record does not tell them.
    """

    p50_ms: float
    low_ms: float | None
    high_ms: float | None


class Times(Record):
    """The warm runs of all rounds, and the median of each round. See `Spread` for the limits."""

    warm: Timing
    rounds_p50_ms: tuple[float, ...] = Field(min_length=1)
    low_ms: float | None
    high_ms: float | None

    @property
    def spread(self) -> Spread:
        """The median of all runs, within its limits."""
        return Spread(p50_ms=self.warm.p50_ms, low_ms=self.low_ms, high_ms=self.high_ms)


class WorkloadRow(Times):
    """A workload of a subject.

    `first_ms` is, by round, the first run of a fresh process; what is opened when it is first
    needed is counted in. `images_per_s` is of one at a time, 1000 by the mean. `peak_rss_bytes` is
    the most memory that the process held during the warm runs of any round.
    """

    workload: str
    first_ms: tuple[float, ...] = Field(min_length=1)
    images_per_s: float
    peak_rss_bytes: int | None


class SubjectRow(Record):
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
    steps: dict[str, Times]
    peak_rss_bytes: int | None
    gpu_memory_bytes: int | None

    def workload(self, name: str) -> WorkloadRow | None:
        """The row of a workload; None if the subject lacks it."""
        return next((row for row in self.workloads if row.workload == name), None)


class Failure(Record):
    """What a subject did not do: `at` is "verify", "open" or a workload; `reason` its own words."""

    subject: str
    at: str
    reason: str


class SeriesPoint(Record):
    """One workload of a subject that is measured at several sizes, such as "image_encoder@448"."""

    subject: str
    workload: str
    spread: Spread


class Peak(Record):
    """The most that an engine did in a precision, of the sizes tried: two square matrices."""

    precision: str
    engine: str
    size: int
    gflops: float


class Machine(Record):
    """What the machine can do at most, with so many threads.

    `peaks` are those of each precision and engine; `bandwidth_gbps` is of a large copy, bytes read
    and written.
    """

    threads: int
    peaks: tuple[Peak, ...]
    bandwidth_gbps: float

    def best(self) -> dict[str, Peak]:
        """The best engine of each precision."""
        ranked = sorted(self.peaks, key=lambda peak: peak.gflops)
        return {peak.precision: peak for peak in ranked}


class Cost(Record):
    """What one run of a graph of ViT-B takes.

    `graph` is its name without the resolution. `weight_flop` are operations with weights, which
    int8 graphs do in int8, `attention_flop` those of attention, which no graph of ours does in
    int8. `parameters` counts the numbers of its weights, without tables whose rows are looked up;
    `activation_bytes` is of its inputs and outputs, in the contract's types.
    """

    graph: str
    weight_flop: int
    attention_flop: int
    parameters: int
    activation_bytes: int

    def moved_bytes(self, precision: str) -> int:
        """What must move at least: weights in that precision, inputs and outputs."""
        return self.parameters * WEIGHT_BYTES[precision] + self.activation_bytes


class MachineShare(Record):
    """How much of the machine a graph of ViT-B used.

    `attention` is the precision that attention is computed in. At the median time `gflops` are
    reached; `of_peak` is what the matrix peak of its precision would take, of that time, and
    `of_limit` likewise, with attention at the peak of its own precision. `bound` is what limits the
    graph on this machine.
    """

    runtime: str
    precision: str
    attention: str
    graph: str
    spread: Spread
    gflops: float
    of_peak: float
    of_limit: float
    bound: Literal["compute", "memory"]


class Startup(Record):
    """Fresh processes: each imports the package, loads the default model and finds three labels.

    That is in fp32 on onnxruntime, of a photograph in a file. The labels are embedded anew.
    """

    seconds: tuple[float, ...] = Field(min_length=1)
    peak_rss_bytes: int | None


class Speed(Run):
    """The whole of speed.json and of speed_vit_b.json.

    `startup` and `mask_iou` are of the default model alone, all from `series` on of ViT-B.
    `mask_iou` is, by "runtime precision", the mean IoU that the model keeps with eager torch on its
    held-out tasks, the lower of box masks and text-to-mask.
    """

    schema_version: Literal[3] = 3
    device: Device
    before: State
    after: State
    settings: Settings
    subjects: tuple[SubjectRow, ...]
    failures: tuple[Failure, ...]
    startup: Startup | None = None
    mask_iou: dict[str, float] = Field(default_factory=dict)
    series: tuple[SeriesPoint, ...] = ()
    machine: Machine | None = None
    costs: tuple[Cost, ...] = ()
    shares: tuple[MachineShare, ...] = ()

    @model_validator(mode="after")
    def _check(self) -> Speed:
        keys = [row.key for row in self.subjects]
        if len(set(keys)) < len(keys):
            raise ValueError(f"two subjects have one key: {', '.join(keys)}")
        return self

    def subject(self, key: str) -> SubjectRow | None:
        """The row of a subject; None if it is not there."""
        return next((row for row in self.subjects if row.key == key), None)
