"""What the presets' image encoders cost on this machine: counted, and timed on onnxruntime."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx_ir as ir

from benchmarks.encoder_cost import EncoderCost
from benchmarks.speed.machine import count_graphs
from export.graphs import build_graphs
from export.to_onnx import to_onnx
from samclip_sdk.bundle.graph_spec import GraphSpec
from samclip_sdk.modeling.build import build_model
from samclip_sdk.modeling.config import ModelConfig
from samclip_sdk.runtimes.options import RuntimeOptions
from samclip_sdk.runtimes.ort import OrtSession
from samclip_sdk.timing import PeakMemory, elapsed_ms, time_workload

_PART = "image_encoder"


@dataclass(frozen=True)
class Rounds:
    """How image encoders are timed.

    Attributes:
        rounds: in each, every encoder is opened in turn and closed, so that the machine's drift
            falls on all alike.
        seconds: for one encoder in a round.
        threads: onnxruntime's; its own choice if 0.
    """

    rounds: int = 3
    seconds: float = 2.0
    threads: int = 0


def measure_encoders(
    presets: Mapping[str, ModelConfig],
    *,
    resolutions: Sequence[int],
    timing: Rounds | None,
    say: Callable[[str], None],
) -> list[EncoderCost]:
    """Counts, and times unless `timing` is None, the image encoder of each preset.

    Args:
        presets: by name.
        resolutions: in pixels.
        timing: how; nothing is exported and run without it.
        say: is told what is done.

    Raises:
        ValueError: a preset does not run at a resolution. No work is done then.
    """
    for config in presets.values():
        for resolution in resolutions:
            config.check_resolution(resolution)
    counted = []
    for name, config in presets.items():
        for resolution in resolutions:
            say(f"counting {name} at {resolution} px")
            counted.append(_count(name, config, resolution=resolution))
    if timing is None:
        return counted
    with TemporaryDirectory() as folder:
        files = {}
        for name, config in presets.items():
            say(f"exporting {name}")
            files |= _export(name, config, resolutions=resolutions, folder=Path(folder))
        medians: dict[tuple[str, int], tuple[float, ...]] = dict.fromkeys(files, ())
        for number in range(timing.rounds):
            for (name, resolution), (path, spec) in files.items():
                say(f"round {number + 1}: {name} at {resolution} px")
                found = _time(path, spec=spec, timing=timing)
                medians[name, resolution] = (*medians[name, resolution], found)
    return [
        each.model_copy(update={"rounds_p50_ms": medians[each.preset, each.resolution]})
        for each in counted
    ]


def _count(name: str, config: ModelConfig, *, resolution: int) -> EncoderCost:
    (cost,) = (each for each in count_graphs(config, resolution=resolution) if each.graph == _PART)
    return EncoderCost(
        preset=name,
        resolution=resolution,
        parameters=cost.parameters,
        flop=cost.weight_flop + cost.attention_flop,
        rounds_p50_ms=(),
    )


def _export(
    name: str, config: ModelConfig, *, resolutions: Sequence[int], folder: Path
) -> dict[tuple[str, int], tuple[Path, GraphSpec]]:
    """Writes a preset's encoder with random weights; (name, resolution) -> file and contract."""
    files = {}
    for graph in build_graphs(build_model(config), resolutions=resolutions):
        if graph.part == _PART and graph.resolution is not None:
            path = folder / f"{name}@{graph.resolution}.onnx"
            model = to_onnx(graph.trace(), inputs=graph.traced_inputs(), outputs=graph.outputs)
            ir.save(model, path)
            files[name, graph.resolution] = path, graph.contract()
    return files


def _time(path: Path, *, spec: GraphSpec, timing: Rounds) -> float:
    """The median of one round, in milliseconds."""
    session = OrtSession(path, spec=spec, options=RuntimeOptions(threads=timing.threads))
    picture = np.random.default_rng(0).integers(0, 256, spec.inputs[0].shape).astype(np.uint8)
    run = partial(session.run, {spec.inputs[0].name: picture})
    try:
        runs = time_workload(
            lambda: elapsed_ms(run), memory=PeakMemory(), seconds=timing.seconds, at_least=1
        )
    finally:
        session.close()
    return round(statistics.median(runs.samples_ms), 3)
