"""Other settings of onnxruntime beside those that ship: `python -m benchmarks tried`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from benchmarks.intervals import Estimate, over_rounds
from benchmarks.suite import Measuring, ModelName, Rounds
from samclip_sdk import SamClip
from samclip_sdk.bundle.contract import graph_key
from samclip_sdk.bundle.graph_spec import GraphSpec
from samclip_sdk.bundle.open import DEFAULT_MODEL, open_bundle
from samclip_sdk.runtimes.onnx.providers import open_graph
from samclip_sdk.runtimes.onnx.session import SPINNING, session_options
from samclip_sdk.runtimes.options import DEFAULT_OPTIONS
from samclip_sdk.system.packages import import_onnxruntime
from samclip_sdk.system.timing import elapsed_ms

AS_IT_SHIPS = "as it ships"
_ERRORS_ONLY = 3
_AXES = {"num_prompts": 3, "num_points": 5}

Change = Callable[[Any], None]


def _planned(settings: Any) -> None:
    settings.enable_mem_pattern = settings.enable_mem_reuse = True


def _in_parallel(settings: Any) -> None:
    settings.execution_mode = import_onnxruntime().ExecutionMode.ORT_PARALLEL


CHANGES: dict[str, Change] = {
    AS_IT_SHIPS: lambda settings: None,
    "a memory arena": lambda settings: setattr(settings, "enable_cpu_mem_arena", True),
    "memory planned, buffers reused": _planned,
    "threads that spin": lambda settings: settings.add_session_config_entry(SPINNING, "1"),
    "branches of a graph in parallel": _in_parallel,
}


def tried(measured: Measuring, model: ModelName = DEFAULT_MODEL, rounds: Rounds = 20) -> None:
    """Times graphs in fp32 with other settings of onnxruntime, in one process, in turn.

    A ratio is of a run with a change and the one as it ships of the same round. The machine should
    be idle.
    """
    import_onnxruntime().set_default_logger_severity(_ERRORS_ONLY)  # it warns of changed settings
    with SamClip.load("onnx", model=model, precision="fp32") as opened:
        measured.of(opened)
        resolution = opened.manifest.tasks.segmentation.resolution
    bundle = open_bundle(model)
    for part in ("image_encoder", "clip_head", "mask_decoder"):
        graph = part if part == "mask_decoder" else graph_key(part, resolution)
        (file,) = bundle.graph_files(graph, runtime="onnx", precision="fp32")
        feed = _feed(bundle.manifest.graphs[graph])
        runs = {
            name: partial(_open(str(file.path), change).run, None, feed)
            for name, change in CHANGES.items()
        }
        found: dict[str, list[float]] = {name: [] for name in runs}
        for turn in measured.track(range(1 + rounds), part):
            for name, run in runs.items():
                found[name] += [elapsed_ms(run)] if turn else []
        for name, times in found.items():
            ratios = [mine / usual for mine, usual in zip(times, found[AS_IT_SHIPS], strict=True)]
            low, middle, high = np.percentile(ratios, [25, 50, 75]).tolist()
            measured.add(name, part, n=rounds, ms=over_rounds(times))
            measured.add(name, part, n=rounds, ratio=Estimate(middle, low, high))


def _open(path: str, change: Change) -> Any:
    settings = session_options(DEFAULT_OPTIONS, on_cpu=True)
    change(settings)
    return open_graph(path, options=DEFAULT_OPTIONS, session_options=settings)


def _feed(spec: GraphSpec) -> dict[str, Any]:
    """Zeros; of three prompts of five points."""
    return {
        each.name: np.zeros([_AXES.get(n, n) for n in each.shape], each.dtype)
        for each in spec.inputs
    }
