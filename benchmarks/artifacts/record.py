"""The record of what checkpoints become, and its tables: every artifact, and every set of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from benchmarks.record import Model, Record, Run
from benchmarks.report import NONE, columns
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


_SET: dict[str, Callable[[SetRow], str]] = {
    "set": lambda row: f"{row.runtime} {row.precision}",
    "MB": lambda row: f"{row.bytes / 1e6:.1f}",
    "box masks, mean IoU": lambda row: _task(row, "box_mask_iou"),
    "text-to-mask, mean IoU": lambda row: _task(row, "text_mask_iou"),
    "classes that agree": lambda row: _task(row, "top1_agreement"),
    "least cosine of embeddings": lambda row: _task(row, "embedding_cosine"),
}
_ARTIFACT: dict[str, Callable[[ArtifactRow], str]] = {
    "graph": lambda row: ", K = ".join([row.graph, *_lengths(row)]),
    "runtime": lambda row: f"{row.runtime} {row.precision}",
    "MB": lambda row: f"{row.bytes / 1e6:.2f}",
    "seconds": lambda row: f"{row.seconds:.1f}",
    "in fp32": lambda row: str(row.pinned or NONE),
    "largest error": lambda row: _worst(row, "max_error", max, ".1e"),
    "least cosine": lambda row: _worst(row, "min_cosine", min, ".6f"),
}


def render(artifacts: Artifacts) -> str:
    """The tables, and under them how they were made."""
    parts = []
    for model in artifacts.models:
        weights = "random weights" if model.model.random_weights else "trained"
        engines = f"Engines were built by {model.tensorrt}. " if model.tensorrt else ""
        parts += [
            f"## {model.model.name}, {weights}",
            columns(model.sets, _SET, words=1),
            columns(model.artifacts, _ARTIFACT, words=2),
            f"{engines}{model.environment.footnote}",
        ]
    return "\n\n".join(parts) + "\n"


def _task(row: SetRow, name: str) -> str:
    found = {each.metric: f"{each.measured:.4f}" for each in row.measurements}
    return found.get(TASK + name, NONE)


def _lengths(row: ArtifactRow) -> list[str]:
    return [str(length) for axis, length in row.axes.items() if axis != "num_points"][:1]


def _worst(row: ArtifactRow, kind: str, worst: Callable[[list[float]], float], form: str) -> str:
    found = [each.measured for each in row.measurements if each.metric.startswith(f"{kind}/")]
    return f"{worst(found):{form}}" if found else NONE
