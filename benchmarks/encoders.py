"""What graphs cost: operations that are counted, and image encoders timed on onnxruntime."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import torch
import typer
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.speed.measure import HowLong, measure_subjects, summarize
from benchmarks.speed.published import encoder_spec
from benchmarks.suite import Measuring, ModelName
from export.bundle_writer import write_bundle
from export.graphs import Graph, build_graphs
from export.options import ExportOptions
from export.source import find_source
from samclip_sdk import SamClip
from samclip_sdk.bundle.manifest import Manifest
from samclip_sdk.bundle.open import DEFAULT_MODEL
from samclip_sdk.modeling.build import SamClipModel
from samclip_sdk.modeling.config import PRESETS, ModelConfig

RESOLUTIONS = (512, 1024)
_LARGE = ("vit_l", "vit_h")  # not made for devices
_HOW_LONG = HowLong(rounds=3, seconds=2.0, max_runs=1000)


def encoders(
    measured: Measuring,
    count_only: Annotated[bool, typer.Option("--count-only", help="time nothing")] = False,
) -> None:
    """Counts parameters and operations of the presets' image encoders, and times them.

    With random weights, in fp32 on onnxruntime. The machine should be idle.
    """
    names = [name for name in PRESETS if name not in _LARGE]
    asked = [(name, size) for name in names for size in RESOLUTIONS]
    for name, size in measured.track(asked, "counting"):
        measured.add(name, str(size), **count(PRESETS[name], resolution=size))
    if not count_only:
        _time_encoders(measured, names)


def floats(measured: Measuring, model: ModelName = DEFAULT_MODEL) -> None:
    """Counts the operations of the layers that a bundle's int8 files compute in float.

    They are those of matrix products and convolutions, for three prompts and three texts. Nothing
    is timed. It needs torch.
    """
    with SamClip.load("onnx", model=model, precision="int8") as opened:
        measured.of(opened)
        manifest = opened.manifest
    assert isinstance(manifest, Manifest)
    counted = count_by_module(manifest.model, resolution=manifest.tasks.segmentation.resolution)
    for graph, flop in counted.items():
        kept = manifest.kept_in_float.get(graph, ())
        in_float = sum(flop.get(name, 0) for name in kept)
        measured.add(graph, n=len(kept), flop=flop[""], in_float=in_float)
        for layer in kept:
            measured.add(graph, layer, flop=flop.get(layer))


def count(config: ModelConfig, *, resolution: int) -> dict[str, int]:
    """The parameters of an image encoder, as it is exported, and the operations of an image."""
    graph = _graphs(config, resolution=resolution)[0]
    parameters = sum(each.numel() for each in graph.module.parameters())
    return {"parameters": parameters, "flop": _flop(graph)[""]}


def count_by_module(config: ModelConfig, *, resolution: int) -> dict[str, dict[str, int]]:
    """The operations of each graph of a bundle, by its name, and in it by module; "" is the whole.

    They are of three prompts of two points, and of three texts.
    """
    return {each.name: _flop(each) for each in _graphs(config, resolution=resolution)}


def _graphs(config: ModelConfig, *, resolution: int) -> list[Graph]:
    """The graphs of a model without values: torch's meta tensors have shapes alone."""
    with torch.device("meta"):
        return build_graphs(SamClipModel(config), resolutions=[resolution])


def _flop(graph: Graph) -> dict[str, int]:
    """Operations of matrix products and convolutions; a multiplication and an addition are two."""
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        graph.module(*graph.example().values())
    # Modules stand there as "TheGraphsClass.its.path".
    return {
        name.partition(".")[2]: sum(counts.values())
        for name, counts in counter.get_flop_counts().items()
        if name == "Global" or "." in name
    }


def _time_encoders(measured: Measuring, names: list[str]) -> None:
    """Exports encoders with random weights, and times them; raises ValueError if one fails."""
    with TemporaryDirectory() as folder:
        specs = []
        for name in measured.track(names, "exporting"):
            bundle, options = Path(folder, name), ExportOptions(resolutions=RESOLUTIONS)
            write_bundle(find_source(f"random:{name}"), bundle, options=options)
            spec = f"samclip,precision=fp32,unverified=true,model={bundle}"
            specs.append(encoder_spec(spec, RESOLUTIONS, threads=0))
        subjects = measure_subjects(measured, specs, how=_HOW_LONG)
    for name, subject in zip(names, subjects, strict=True):
        for at, why in subject.failures.items():
            raise ValueError(f"{name}, {at}: {why}")
        for size in RESOLUTIONS:
            runs = [each.samples_ms for each in subject.runs[f"image_encoder@{size}"]]
            measured.add(name, str(size), n=len(runs), ms=summarize(runs)["ms"])
