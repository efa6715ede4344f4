"""Exports a checkpoint for every runtime, each step timed, and tells what came of it.

TensorRT engines are built from the ONNX files for a compute capability, which needs no GPU, and are
not run.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.artifacts.record import TASK, ArtifactRow, ModelArtifacts, SetRow
from benchmarks.record import describe_environment, describe_model
from export.bundle_writer import write_bundle
from export.options import ExportOptions
from export.source import find_source
from samclip_sdk.bundle.graph_spec import Artifact, Measurement
from samclip_sdk.bundle.open import Bundle, open_bundle
from samclip_sdk.errors import RuntimeMissingError
from samclip_sdk.runtimes.artifact_sets import artifact_sets
from samclip_sdk.runtimes.tensorrt.cuda import Gpu
from samclip_sdk.runtimes.tensorrt.engine import build_engine
from samclip_sdk.runtimes.tensorrt.network import import_tensorrt


def measure_artifacts(
    checkpoint: str,
    options: ExportOptions,
    *,
    compute_capability: str,
    say: Callable[[str], None],
) -> ModelArtifacts:
    """Exports a checkpoint, or random:vit_b, and builds engines, for "8.9" for instance."""
    started = since = time.perf_counter()
    spent: dict[str, float] = defaultdict(float)  # by what the exporter says that it is doing
    before = ""

    def report(doing: str, done: int, total: int) -> None:
        nonlocal before, since
        say(f"{checkpoint}: {doing}, {done + 1} of {total}")
        now = time.perf_counter()
        spent[before] += now - since
        before, since = doing, now

    with TemporaryDirectory() as at:
        folder = Path(at, "bundle")
        write_bundle(find_source(checkpoint), folder, options=options, on_progress=report)
        report("building TensorRT engines", 0, 1)
        bundle = open_bundle(folder)
        rows = list(_exported(bundle, spent=spent))
        try:
            trt = import_tensorrt()
        except RuntimeMissingError:
            tensorrt = None
        else:
            tensorrt = f"{trt.__name__} {trt.__version__}"
            rows += _engines(bundle, compute_capability=compute_capability)
        return ModelArtifacts(
            artifacts=tuple(rows),
            sets=tuple(_sets(bundle)),
            environment=describe_environment(),
            seconds=round(time.perf_counter() - started, 1),
            model=describe_model(bundle.manifest),
            tensorrt=tensorrt,
        )


def _exported(bundle: Bundle, *, spent: dict[str, float]) -> Iterator[ArtifactRow]:
    """What the bundle holds, and the seconds of each on top of tracing its graph."""
    for name, graph in bundle.manifest.model_graphs.items():
        for artifact in graph.artifacts:
            to = " to Core ML" if artifact.runtime == "coreml" else ""
            yield ArtifactRow(
                graph=name,
                runtime=artifact.runtime,
                precision=artifact.precision,
                axes=artifact.axes,
                bytes=sum(each.size_bytes for each in (artifact, *artifact.weights)),
                seconds=round(spent[f"converting {name}{to} in {artifact.precision}"], 2),
                pinned=_pinned(bundle, name, artifact.runtime, artifact.precision),
                measurements=_measurements(artifact, of_tasks=False),
            )


def _engines(bundle: Bundle, *, compute_capability: str) -> Iterator[ArtifactRow]:
    """Builds every ONNX file as an engine."""
    gpu = Gpu("stated by its compute capability", compute_capability=compute_capability)
    for name, graph in bundle.manifest.model_graphs.items():
        for artifact in graph.artifacts:
            if artifact.runtime == "onnx":
                started = time.perf_counter()
                engine = build_engine(bundle.root / artifact.path, spec=graph, gpu=gpu)
                yield ArtifactRow(
                    graph=name,
                    runtime="tensorrt",
                    precision=artifact.precision,
                    axes={},
                    bytes=len(engine),
                    seconds=round(time.perf_counter() - started, 2),
                    pinned=_pinned(bundle, name, "tensorrt", artifact.precision),
                    measurements=(),
                )


def _sets(bundle: Bundle) -> Iterator[SetRow]:
    every = [each for graph in bundle.manifest.model_graphs.values() for each in graph.artifacts]
    for runtime, precision in artifact_sets(bundle):
        own = [each for each in every if (each.runtime, each.precision) == (runtime, precision)]
        files = {file.path: file.size_bytes for each in own for file in (each, *each.weights)}
        yield SetRow(
            runtime=runtime,
            precision=precision,
            bytes=sum(files.values()),
            measurements=_measurements(own[0], of_tasks=True),
        )


def _measurements(artifact: Artifact, *, of_tasks: bool) -> tuple[Measurement, ...]:
    every = artifact.parity.measurements
    return tuple(each for each in every if each.metric.startswith(TASK) == of_tasks)


def _pinned(bundle: Bundle, graph: str, runtime: str, precision: str) -> int:
    """Operations of the precision plan, or layers of a graph in int8 (Core ML's are fp16)."""
    if precision == "fp32":
        return 0
    if precision == "int8" and runtime != "coreml":
        return len(bundle.manifest.kept_in_float.get(graph, ()))
    return len(bundle.manifest.precision_plan.get(graph, ()))
