"""What graphs cost: operations that are counted, and image encoders timed on onnxruntime."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from benchmarks.speed.measure import HowLong, measure_subjects, summarize
from benchmarks.speed.published import encoder_spec
from benchmarks.suite import Measuring, ModelName, Rounds, Threads
from samclip_sdk import SamClip
from samclip_sdk.bundle.manifest import Manifest
from samclip_sdk.bundle.open import DEFAULT_MODEL
from samclip_sdk.modeling.config import PRESETS, ModelConfig

if TYPE_CHECKING:
    from export.graphs import Graph

_LARGE = ("vit_l", "vit_h")  # not made for devices


def encoders(
    measured: Measuring,
    preset: Annotated[list[str] | None, typer.Argument(help="if none, all for devices")] = None,
    resolution: Annotated[
        list[int], typer.Option(help="side of a picture in pixels; repeatable")
    ] = [512, 1024],  # noqa: B006, as typer takes it
    threads: Threads = 0,
    rounds: Rounds = 3,
    seconds: Annotated[float, typer.Option(help="to time an encoder for, in a round", min=0)] = 2.0,
    count_only: Annotated[bool, typer.Option("--count-only", help="time nothing")] = False,
) -> None:
    """Counts parameters and operations of the presets' image encoders, and times them.

    With random weights, in fp32 on onnxruntime. The machine should be idle.
    """
    for name in preset or ():
        if name not in PRESETS:
            raise ValueError(f"there is no preset {name!r}: {', '.join(PRESETS)}")
    names = list(dict.fromkeys(preset or (name for name in PRESETS if name not in _LARGE)))
    asked = [(name, size) for name in names for size in dict.fromkeys(resolution)]
    for name, size in asked:
        PRESETS[name].check_resolution(size)  # before any work is done
    for name, size in measured.track(asked, "counting"):
        measured.add(name, str(size), **count(PRESETS[name], resolution=size))
    if not count_only:
        how, sizes = HowLong(rounds, seconds, at_most=1000), list(dict.fromkeys(resolution))
        _time_encoders(measured, names, sizes, how, threads=threads)


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
    """The parameters of an image encoder, as it is exported, and the operations of a picture."""
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
    # Only here: they need torch, which other measurements do without.
    import torch

    from export.graphs import build_graphs
    from samclip_sdk.modeling.build import SamClipModel

    with torch.device("meta"):
        return build_graphs(SamClipModel(config), resolutions=[resolution])


def _flop(graph: Graph) -> dict[str, int]:
    """Operations of matrix products and convolutions; a multiplication and an addition are two."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        graph.module(*graph.example().values())
    # Modules stand there as "TheGraphsClass.its.path".
    return {
        name.partition(".")[2]: sum(counts.values())
        for name, counts in counter.get_flop_counts().items()
        if name == "Global" or "." in name
    }


def _time_encoders(
    measured: Measuring, names: list[str], sizes: list[int], how: HowLong, *, threads: int
) -> None:
    """Exports encoders with random weights, and times them; raises ValueError if one fails."""
    from export.bundle_writer import write_bundle
    from export.options import ExportOptions
    from export.source import find_source

    with TemporaryDirectory() as folder:
        specs = []
        for name in measured.track(names, "exporting"):
            bundle, options = Path(folder, name), ExportOptions(resolutions=tuple(sizes))
            write_bundle(find_source(f"random:{name}"), bundle, options=options)
            spec = f"samclip,precision=fp32,unverified=true,model={bundle}"
            specs.append(encoder_spec(spec, sizes, threads=threads))
        subjects = measure_subjects(measured, specs, how=how)
    for name, subject in zip(names, subjects, strict=True):
        for at, why in subject.failures.items():
            raise ValueError(f"{name}, {at}: {why}")
        for size in sizes:
            runs = [each.samples_ms for each in subject.runs[f"image_encoder@{size}"]]
            measured.add(name, str(size), n=len(runs), ms=summarize(runs)["ms"])
