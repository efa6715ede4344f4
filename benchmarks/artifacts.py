"""Exports a checkpoint for every runtime, each step timed, and tells what came of it.

TensorRT engines are built from the ONNX files for a compute capability, which needs no GPU, and are
not run.
"""

from __future__ import annotations

import time
from collections import defaultdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from benchmarks.suite import Measuring
from benchmarks.table import describe_model
from export.bundle_writer import write_bundle
from export.options import ExportOptions
from export.source import find_source
from samclip_sdk.bundle.graph_spec import Artifact
from samclip_sdk.bundle.open import Bundle, open_bundle
from samclip_sdk.errors import RuntimeMissingError
from samclip_sdk.runtimes.artifact_sets import artifact_sets
from samclip_sdk.runtimes.tensorrt.cuda import Gpu
from samclip_sdk.runtimes.tensorrt.engine import build_engine
from samclip_sdk.runtimes.tensorrt.network import import_tensorrt

TASK = "task/"
"""What the names of metrics on whole tasks begin with."""

OPTIONS = ExportOptions(
    onnx=("fp32", "fp16", "int8"), coreml=("fp16", "int8", "palette6"), weights="fp16"
)
GPU = Gpu("stated by its compute capability", compute_capability="8.9")


def artifacts(
    measured: Measuring,
    checkpoints: Annotated[list[str], typer.Argument(help="folders, or random:vit_b")],
) -> None:
    """Exports checkpoints for every runtime; tells sizes, build times, parity, task metrics.

    Other models that the table holds from an earlier run stay there.
    """
    for checkpoint in checkpoints:
        _measure(measured, checkpoint)
        measured.save()


def _measure(measured: Measuring, checkpoint: str) -> None:
    """Exports a checkpoint, or random:vit_b, and builds engines.

    The seconds of an artifact are those on top of tracing its graph.
    """
    since, before = time.perf_counter(), ""
    spent: dict[str, float] = defaultdict(float)  # by what the exporter says that it is doing

    def report(doing: str, done: int, total: int) -> None:
        nonlocal before, since
        measured.say(f"{checkpoint}: {doing}", done, total)
        now = time.perf_counter()
        spent[before] += now - since
        before, since = doing, now

    with TemporaryDirectory() as at:
        folder = Path(at, "bundle")
        write_bundle(find_source(checkpoint), folder, options=OPTIONS, on_progress=report)
        report("building TensorRT engines", 0, 1)
        bundle = open_bundle(folder)
        measured.model = describe_model(bundle.manifest)
        try:
            trt = import_tensorrt()
        except RuntimeMissingError:
            trt = None
            measured.settings.pop("tensorrt", None)
        else:
            measured.settings["tensorrt"] = f"{trt.__name__} {trt.__version__}"
        for name, graph in bundle.manifest.model_graphs.items():
            for artifact in graph.artifacts:
                to = " to Core ML" if artifact.runtime == "coreml" else ""
                seconds = spent[f"converting {name}{to} in {artifact.precision}"]
                size = sum(each.size_bytes for each in (artifact, *artifact.weights))
                parity = _errors(artifact, of_tasks=False)
                add_artifact(measured, bundle, name, artifact, size, seconds, parity)
                if trt and artifact.runtime == "onnx":
                    since = time.perf_counter()
                    size = len(build_engine(bundle.root / artifact.path, spec=graph, gpu=GPU))
                    engine = artifact.model_copy(update={"runtime": "tensorrt", "axes": {}})
                    seconds = time.perf_counter() - since
                    add_artifact(measured, bundle, name, engine, size, seconds, {})
        add_sets(measured, bundle)


def add_artifact(
    measured: Measuring,
    bundle: Bundle,
    graph: str,
    artifact: Artifact,
    size: int,
    seconds: float,
    parity: dict[str, float],
) -> None:
    """Gives figures of an artifact of a graph, and `pinned`.

    That is how many operations (fp16) or layers (int8) stay in fp32. Weights that several artifacts
    share are counted in each. Of an engine, which was not run, there is no parity.
    """
    runtime, precision, manifest = artifact.runtime, artifact.precision, bundle.manifest
    lengths = [str(length) for axis, length in artifact.axes.items() if axis != "num_points"]
    kept = manifest.precision_plan
    if precision == "int8" and runtime != "coreml":  # whose int8 is beside operations in fp16
        kept = manifest.kept_in_float
    pinned = 0 if precision == "fp32" else len(kept.get(graph, ()))
    split = f"{', K = '.join([graph, *lengths[:1]])} on {runtime} {precision}"
    figures = {"pinned": pinned, "bytes": size, "seconds": round(seconds, 2)}
    measured.add(manifest.name, split, **figures, **parity)


def _errors(artifact: Artifact, *, of_tasks: bool) -> dict[str, float]:
    every = artifact.parity.measurements
    return {
        each.metric: each.measured for each in every if each.metric.startswith(TASK) == of_tasks
    }


def add_sets(measured: Measuring, bundle: Bundle) -> None:
    """Gives all artifacts of a runtime and precision, on whole tasks; none of random weights."""
    every = [each for graph in bundle.manifest.model_graphs.values() for each in graph.artifacts]
    for runtime, precision in artifact_sets(bundle):
        own = [each for each in every if (each.runtime, each.precision) == (runtime, precision)]
        files = {file.path: file.size_bytes for each in own for file in (each, *each.weights)}
        found = {"bytes": sum(files.values()), **_errors(own[0], of_tasks=True)}
        measured.add(bundle.manifest.name, f"the model on {runtime} {precision}", **found)
