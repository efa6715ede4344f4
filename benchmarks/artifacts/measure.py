"""Exports a checkpoint for every runtime, each step timed, and tells what came of it.

TensorRT engines are built from the ONNX files for a compute capability, which needs no GPU, and are
not run.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.artifacts.record import TASK, ArtifactRow, ModelArtifacts, SetRow
from benchmarks.record import Model, describe_environment
from export.bundle_writer import write_bundle
from export.options import ExportOptions
from export.source import find_source
from samclip_sdk.bundle.artifact_sets import artifact_sets
from samclip_sdk.bundle.graph_spec import Artifact
from samclip_sdk.bundle.open import Bundle, open_bundle
from samclip_sdk.errors import RuntimeMissingError
from samclip_sdk.runtimes.trt_cuda import Gpu
from samclip_sdk.runtimes.trt_engine import build_engine
from samclip_sdk.runtimes.trt_network import import_tensorrt


def measure_artifacts(
    checkpoint: str,
    folder: Path,
    *,
    options: ExportOptions,
    compute_capability: str,
    on_progress: Callable[[str], None],
) -> ModelArtifacts:
    """Exports a checkpoint and builds its engines.

    Args:
        checkpoint: a folder, or random:vit_b.
        folder: for the bundle; it must not exist.
        options: what to export.
        compute_capability: that engines are built for, "8.9" for instance.
        on_progress: told what is being done.

    Raises:
        VerificationError: an artifact is below a gate.
        BundleError: the checkpoint cannot be exported, or an engine cannot be built.
    """
    started, clock = time.perf_counter(), _Clock()

    def report(doing: str, done: int, total: int) -> None:
        on_progress(f"{checkpoint}: {doing}, {done + 1} of {total}")
        clock.start(doing)

    write_bundle(find_source(checkpoint), folder, options=options, on_progress=report)
    clock.start("")
    bundle = open_bundle(folder)
    on_progress(f"{checkpoint}: building TensorRT engines")
    built = list(_engines(bundle, compute_capability=compute_capability))
    exported = [
        _row(bundle, name, artifact, seconds=clock.seconds(name, artifact))
        for name, graph in bundle.manifest.graphs.items()
        for artifact in graph.artifacts
    ]
    return ModelArtifacts(
        environment=describe_environment(),
        seconds=round(time.perf_counter() - started, 1),
        model=Model(
            name=bundle.manifest.name,
            revision=bundle.manifest.revision,
            runtime=None,
            precision=None,
            random_weights=bundle.manifest.random_weights,
        ),
        tensorrt=_tensorrt(),
        artifacts=(*exported, *built),
        sets=tuple(_sets(bundle)),
    )


class _Clock:
    """Seconds by what the exporter says that it is doing."""

    def __init__(self) -> None:
        self._spent: dict[str, float] = {}
        self._doing, self._since = "", time.perf_counter()

    def start(self, doing: str) -> None:
        """Ends what was being done."""
        now = time.perf_counter()
        self._spent[self._doing] = self._spent.get(self._doing, 0.0) + now - self._since
        self._doing, self._since = doing, now

    def seconds(self, graph: str, artifact: Artifact) -> float:
        """What an artifact's graph took in its precision, on top of tracing it."""
        to = " to Core ML" if artifact.runtime == "coreml" else ""
        return self._spent[f"converting {graph}{to} in {artifact.precision}"]


def _row(bundle: Bundle, graph: str, artifact: Artifact, *, seconds: float) -> ArtifactRow:
    return ArtifactRow(
        graph=graph,
        runtime=artifact.runtime,
        precision=artifact.precision,
        axes=artifact.axes,
        bytes=sum(each.size_bytes for each in (artifact, *artifact.weights)),
        seconds=round(seconds, 2),
        pinned=_pinned(bundle, graph, runtime=artifact.runtime, precision=artifact.precision),
        measurements=tuple(
            each for each in artifact.parity.measurements if not each.metric.startswith(TASK)
        ),
    )


def _engines(bundle: Bundle, *, compute_capability: str) -> Iterator[ArtifactRow]:
    """Builds every ONNX file as an engine; none where TensorRT is not installed."""
    if _tensorrt() is None:
        return
    gpu = Gpu("stated by its compute capability", compute_capability=compute_capability)
    for name, graph in bundle.manifest.graphs.items():
        for artifact in graph.artifacts:
            if artifact.runtime != "onnx":
                continue
            started = time.perf_counter()
            engine = build_engine(bundle.root / artifact.path, spec=graph, gpu=gpu)
            precision = artifact.precision
            yield ArtifactRow(
                graph=name,
                runtime="tensorrt",
                precision=precision,
                axes={},
                bytes=len(engine),
                seconds=round(time.perf_counter() - started, 2),
                pinned=_pinned(bundle, name, runtime="tensorrt", precision=precision),
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


def _tensorrt() -> str | None:
    """Which TensorRT there is; None if none is installed."""
    try:
        trt = import_tensorrt()
    except RuntimeMissingError:
        return None
    return f"{trt.__name__} {trt.__version__}"


def _pinned(bundle: Bundle, graph: str, *, runtime: str, precision: str) -> int:
    """Operations of the precision plan, or layers of a graph in int8 (Core ML's are fp16)."""
    if precision == "fp32":
        return 0
    if precision == "int8" and runtime != "coreml":
        return len(bundle.manifest.kept_in_float.get(graph, ()))
    return len(bundle.manifest.precision_plan.get(graph, ()))
