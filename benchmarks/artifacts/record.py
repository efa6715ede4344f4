"""The record of what checkpoints become: every artifact, and every set of them on whole tasks."""

from __future__ import annotations

from typing import Final

from benchmarks.record import Model, Record, Run
from samclip_sdk.bundle.graph_spec import Measurement

TASK: Final = "task/"
"""What the names of metrics on whole tasks begin with."""


class ArtifactRow(Record):
    """An artifact of a graph.

    `runtime` may be "tensorrt"; `bytes` then are the engine's, else those of the file and the
    weights it refers to, shared ones counted in full. `measurements` are of the graph by itself;
    none where nothing could run it. `pinned` is how many operations (fp16) or layers (int8) stay
    in fp32.
    """

    graph: str
    runtime: str
    precision: str
    axes: dict[str, int]
    bytes: int
    seconds: float
    pinned: int
    measurements: tuple[Measurement, ...]


class SetRow(Record):
    """All artifacts of a runtime and precision, on whole tasks; not measured of random weights."""

    runtime: str
    precision: str
    bytes: int
    measurements: tuple[Measurement, ...]


class ModelArtifacts(Run):
    """A model's artifacts and sets of them. `tensorrt` is the version that built engines."""

    model: Model
    tensorrt: str | None
    artifacts: tuple[ArtifactRow, ...]
    sets: tuple[SetRow, ...]


class Artifacts(Record):
    """The whole of artifacts.json."""

    models: tuple[ModelArtifacts, ...]
