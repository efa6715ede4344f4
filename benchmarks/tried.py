"""Other settings of onnxruntime beside those that ship: `python -m benchmarks tried`."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
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
BATCH = 4
IN_A_BATCH = f"a batch of {BATCH} images and an arena, for each image"
_ERRORS_ONLY = 3
_AXES = {"num_prompts": 3, "num_points": 5}
_REST_S = 0.05
"""Before each run: threads that spin go on for a while after theirs."""

Change = Callable[[Any], None]


def _planned(settings: Any) -> None:
    settings.enable_mem_pattern = settings.enable_mem_reuse = True


def _in_parallel(settings: Any) -> None:
    settings.execution_mode = import_onnxruntime().ExecutionMode.ORT_PARALLEL


def _with_arena(settings: Any) -> None:
    settings.enable_cpu_mem_arena = True


def _other_arena(settings: Any) -> None:
    settings.enable_cpu_mem_arena = not settings.enable_cpu_mem_arena


CHANGES: dict[str, Change] = {
    "a memory arena, or none where it has one": _other_arena,
    "memory planned, buffers reused": _planned,
    "threads that spin": lambda settings: settings.add_session_config_entry(SPINNING, "1"),
    "branches of a graph in parallel": _in_parallel,
}


def tried(measured: Measuring, model: ModelName = DEFAULT_MODEL, rounds: Rounds = 20) -> None:
    """Times graphs in fp32 with other settings of onnxruntime, in one process.

    Each change is measured in turn with a session as it ships, and no other session is open. A
    ratio is of two runs of the same round. The machine should be idle.
    """
    import_onnxruntime().set_default_logger_severity(_ERRORS_ONLY)  # it warns of changed settings
    with SamClip.load("onnx", model=model, precision="fp32") as opened:
        measured.of(opened)
        resolution = opened.manifest.tasks.segmentation.resolution
    bundle = open_bundle(model)
    for part in ("image_encoder", "clip_head", "mask_decoder"):
        graph = part if part == "mask_decoder" else graph_key(part, resolution)
        (file,) = bundle.graph_files(graph, runtime="onnx", precision="fp32")
        spec = bundle.manifest.graphs[graph]
        path, feed, opened_as = str(file.path), _feed(spec), partial(_open, spec=spec)
        works = {name: (path, change, feed, 1) for name, change in CHANGES.items()}
        if part == "image_encoder":
            several = {name: np.repeat(image, BATCH, axis=0) for name, image in feed.items()}
            works[IN_A_BATCH] = (_batched(file.path), _with_arena, several, BATCH)
        found = {}
        for name, (file_or_content, change, given, images) in works.items():
            usual = partial(opened_as(path, _as_it_is).run, None, feed)
            changed = partial(opened_as(file_or_content, change).run, None, given)
            turns = measured.track(range(1 + rounds), f"{part}, {name}")
            found[name] = np.array([(_ms(usual), _ms(changed) / images) for _ in turns][1:])
        every = np.concatenate([pairs[:, 0] for pairs in found.values()])
        measured.add(AS_IT_SHIPS, part, n=len(every), ms=over_rounds(every.tolist()))
        for name, pairs in found.items():
            low, middle, high = np.percentile(pairs[:, 1] / pairs[:, 0], [25, 50, 75]).tolist()
            measured.add(name, part, n=rounds, ms=over_rounds(pairs[:, 1].tolist()))
            measured.add(name, part, n=rounds, ratio=Estimate(middle, low, high))


def _as_it_is(settings: Any) -> None:
    pass


def _ms(run: Callable[[], object]) -> float:
    time.sleep(_REST_S)
    return elapsed_ms(run)


def _open(graph: str | bytes, change: Change, *, spec: GraphSpec) -> Any:
    """The session of a file, or of a file's content."""
    settings = session_options(DEFAULT_OPTIONS, spec=spec, on_cpu=True)
    change(settings)
    return open_graph(graph, options=DEFAULT_OPTIONS, session_options=settings)


def _batched(path: Path) -> bytes:
    """An image encoder for `BATCH` images in place of one."""
    import onnx

    model = onnx.load(path)
    del model.graph.value_info[:]
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = BATCH
    constants = {each.name: onnx.numpy_helper.to_array(each) for each in model.graph.initializer}
    for node in model.graph.node:  # shapes that are put together of numbers
        if node.op_type == "Concat" and np.array_equal(constants.get(node.input[0]), [1]):
            node.input[0] = "batch"
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([BATCH]), "batch"))
    return model.SerializeToString()


def _feed(spec: GraphSpec) -> dict[str, Any]:
    """Zeros; of three prompts of five points."""
    return {
        each.name: np.zeros([_AXES.get(n, n) for n in each.shape], each.dtype)
        for each in spec.inputs
    }
