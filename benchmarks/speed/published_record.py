"""What `python -m benchmarks performance` found: performance.json."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from benchmarks.speed.schema import Latency


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Startup(_Record):
    """A fresh process that imports the package and loads samclip-tiny; the best of several."""

    seconds: float
    peak_rss_bytes: int | None


class EncoderTime(_Record):
    """The image encoder by itself, a median, on a runtime and precision with so many threads."""

    runtime: str
    precision: str
    threads: int
    resolution: int
    ms: float


class PromptTime(_Record):
    """So many box prompts on a picture that is encoded, a median, on the best path."""

    prompts: int
    ms: float


class Peak(_Record):
    """The most that the machine did in a precision: the best of the engines and sizes tried."""

    precision: str
    engine: str
    size: int
    gflops: float


class Cost(_Record):
    """What one run of a graph of ViT-B takes; see `benchmarks.speed.roofline`.

    `moved_bytes` is by the precision of the weights.
    """

    graph: str
    weight_gflop: float
    attention_gflop: float
    moved_bytes: dict[str, int]


class Share(_Record):
    """How much of the machine a graph of ViT-B used; see `benchmarks.speed.roofline`."""

    runtime: str
    precision: str
    attention: str
    graph: str
    ms: float
    gflops: float
    of_peak: float
    of_limit: float
    bound: str


class Machine(_Record):
    """Peaks of the machine, with the threads that were timed."""

    threads: int
    peaks: tuple[Peak, ...]
    bandwidth_gbps: float


class Performance(_Record):
    """All of it.

    `tiny_iou` is, by "runtime precision", the mean IoU that samclip-tiny keeps with eager torch on
    its held-out tasks, the lower of box masks and text-to-mask. `tiny_images_per_s` is of
    text-to-mask of one label, from a picture in memory.
    """

    schema_version: Literal[1] = 1
    latency: Latency
    machine: Machine
    costs: tuple[Cost, ...]
    shares: tuple[Share, ...]
    encoders: tuple[EncoderTime, ...]
    prompts: tuple[PromptTime, ...]
    startup: Startup
    tiny_iou: dict[str, float]
    tiny_images_per_s: dict[str, float]
