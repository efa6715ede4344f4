"""Every artifact that a checkpoint becomes: how large, how long to make, how close to eager torch.

The bundles are exported anew, each step timed; TensorRT engines are built from their ONNX files for
a compute capability, which needs no GPU, and are not run.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict
from rich.console import Console

from benchmarks.record import Environment
from export.bundle_writer import write_bundle
from export.options import ExportOptions
from export.source import find_source
from samclip_sdk.bundle.artifact_sets import artifact_sets
from samclip_sdk.bundle.graph_spec import Artifact, Measurement
from samclip_sdk.bundle.open import Bundle, open_bundle
from samclip_sdk.errors import RuntimeMissingError
from samclip_sdk.runtimes.trt_cuda import Gpu
from samclip_sdk.runtimes.trt_engine import build_engine
from samclip_sdk.runtimes.trt_network import import_tensorrt

TASK = "task/"


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ArtifactRow(_Record):
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


class SetRow(_Record):
    """All artifacts of a runtime and precision, on whole tasks; none of random weights."""

    runtime: str
    precision: str
    bytes: int
    measurements: tuple[Measurement, ...]


class ModelRows(_Record):
    """A model's artifacts and sets of them, and where they were made."""

    environment: Environment
    tensorrt: str | None
    name: str
    revision: str
    random_weights: bool
    artifacts: tuple[ArtifactRow, ...]
    sets: tuple[SetRow, ...]


class Runtimes(_Record):
    """What `python -m benchmarks runtimes` found."""

    schema_version: Literal[1] = 1
    models: tuple[ModelRows, ...]


def measure_runtimes(
    checkpoint: str,
    folder: Path,
    *,
    options: ExportOptions,
    compute_capability: str,
    environment: Environment,
    console: Console,
) -> ModelRows:
    """Exports a checkpoint and builds its engines.

    Args:
        checkpoint: a folder, or random:vit_b.
        folder: for the bundle; it must not exist.
        options: what to export.
        compute_capability: that engines are built for, "8.9" for instance.
        environment: told with the rows.
        console: shows progress.

    Raises:
        VerificationError: an artifact is below a gate.
        BundleError: the checkpoint cannot be exported, or an engine cannot be built.
    """
    source = find_source(checkpoint)
    clock = _Clock()
    with console.status(f"exporting {checkpoint}") as status:

        def report(doing: str, done: int, total: int) -> None:
            status.update(f"{checkpoint}: {doing}, {done + 1} of {total}")
            clock.start(doing)

        write_bundle(source, folder, options=options, on_progress=report)
        clock.start("")
        bundle = open_bundle(folder)
        status.update(f"{checkpoint}: building TensorRT engines")
        built = list(_engines(bundle, compute_capability=compute_capability))
    rows = [
        ArtifactRow(
            graph=name,
            runtime=artifact.runtime,
            precision=artifact.precision,
            axes=artifact.axes,
            bytes=_bytes(artifact),
            seconds=round(clock.seconds(name, artifact), 2),
            pinned=_pinned(
                bundle, graph=name, runtime=artifact.runtime, precision=artifact.precision
            ),
            measurements=tuple(
                each for each in artifact.parity.measurements if not each.metric.startswith(TASK)
            ),
        )
        for name, graph in bundle.manifest.graphs.items()
        for artifact in graph.artifacts
    ]
    return ModelRows(
        environment=environment,
        tensorrt=_tensorrt(),
        name=bundle.manifest.name,
        revision=bundle.manifest.revision,
        random_weights=bundle.manifest.random_weights,
        artifacts=(*rows, *built),
        sets=tuple(_sets(bundle)),
    )


class _Clock:
    """Seconds by what the exporter says that it is doing."""

    def __init__(self) -> None:
        self._spent: dict[str, float] = {}
        self._doing = ""
        self._since = time.perf_counter()

    def start(self, doing: str) -> None:
        """Ends what was being done."""
        now = time.perf_counter()
        self._spent[self._doing] = self._spent.get(self._doing, 0.0) + now - self._since
        self._doing, self._since = doing, now

    def seconds(self, graph: str, artifact: Artifact) -> float:
        """What an artifact's graph took in its precision, on top of tracing it."""
        if artifact.runtime == "coreml":
            return self._spent[f"converting {graph} to Core ML in {artifact.precision}"]
        return self._spent[f"converting {graph} in {artifact.precision}"]


def _engines(bundle: Bundle, *, compute_capability: str) -> Iterator[ArtifactRow]:
    """Builds every ONNX file as an engine; none where TensorRT is not installed."""
    try:
        import_tensorrt()
    except RuntimeMissingError:
        return
    gpu = Gpu("stated by its compute capability", compute_capability=compute_capability)
    for name, graph in bundle.manifest.graphs.items():
        for artifact in graph.artifacts:
            if artifact.runtime != "onnx":
                continue
            started = time.perf_counter()
            engine = build_engine(bundle.root / artifact.path, spec=graph, gpu=gpu)
            yield ArtifactRow(
                graph=name,
                runtime="tensorrt",
                precision=artifact.precision,
                axes={},
                bytes=len(engine),
                seconds=round(time.perf_counter() - started, 2),
                pinned=_pinned(
                    bundle, graph=name, runtime="tensorrt", precision=artifact.precision
                ),
                measurements=(),
            )


def _sets(bundle: Bundle) -> Iterator[SetRow]:
    for runtime, precision in artifact_sets(bundle):
        artifacts = [
            each
            for graph in bundle.manifest.graphs.values()
            for each in graph.artifacts
            if (each.runtime, each.precision) == (runtime, precision)
        ]
        files = {file.path: file.size_bytes for each in artifacts for file in (each, *each.weights)}
        yield SetRow(
            runtime=runtime,
            precision=precision,
            bytes=sum(files.values()),
            measurements=tuple(
                each for each in artifacts[0].parity.measurements if each.metric.startswith(TASK)
            ),
        )


def _bytes(artifact: Artifact) -> int:
    return artifact.size_bytes + sum(weights.size_bytes for weights in artifact.weights)


def _tensorrt() -> str | None:
    try:
        trt = import_tensorrt()
    except RuntimeMissingError:
        return None
    return f"{trt.__name__} {trt.__version__}"


def _pinned(bundle: Bundle, *, graph: str, runtime: str, precision: str) -> int:
    """Operations of the precision plan, or layers of a graph in int8 (Core ML's are fp16)."""
    if precision == "fp32":
        return 0
    if precision == "int8" and runtime != "coreml":
        return len(bundle.manifest.kept_in_float.get(graph, ()))
    return len(bundle.manifest.precision_plan.get(graph, ()))
