"""What a merge and the presets' image encoders cost: counted, and encoders timed on onnxruntime.

`operations` counts; it needs torch, and so is imported where it is called.
"""

from __future__ import annotations

import logging
from pathlib import Path
from statistics import median_low
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from benchmarks.intervals import Estimate
from benchmarks.suite import Measuring, Rounds, Threads
from samclip_sdk.modeling.config import PRESETS

_LARGE = ("vit_l", "vit_h")  # not made for devices


def training_cost(
    measured: Measuring,
    config: Annotated[str, typer.Option(help="a config of training of shards")] = "vit_b",
    pictures: Annotated[float, typer.Option(help="of D_CLIP, in an epoch")] = 40.6e6,
    processes: Annotated[int, typer.Option(help="that share a step")] = 32,
    peak_tflops: Annotated[float, typer.Option(help="of the GPU; A100 in bf16")] = 312.0,
    utilisation: Annotated[float, typer.Option(help="share of it that is reached")] = 0.35,
) -> None:
    """Counts what each stage of a merge costs, in operations and in GPU-hours."""
    from benchmarks.operations import count_stages
    from training.config_file import find_config

    logging.disable(logging.WARNING)  # OpenCLIP's, that there are no weights: none are needed
    stages = count_stages(find_config(config), pictures=pictures, step_processes=processes)
    for name, cost in stages:
        scenes = cost["scenes"] * cost["scene_flop"]
        flop = {"gpu_hours": "picture_flop", "gpu_hours_cached": "cached_flop"}
        hours = {
            each: (cost["pictures"] * cost[of] + scenes) / (peak_tflops * 1e12 * utilisation) / 3600
            for each, of in flop.items()
        }
        measured.add(name, **cost, **hours)


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
    sizes = list(dict.fromkeys(resolution))
    from benchmarks.speed.vit_b import count_graphs

    for name in names:
        for size in sizes:
            PRESETS[name].check_resolution(size)  # before any work is done
    for name in names:
        for size in sizes:
            measured.say(f"counting {name} at {size} px")
            every = count_graphs(PRESETS[name], resolution=size)
            (cost,) = (each for each in every if each.graph == "image_encoder")
            flop = cost.weight_flop + cost.attention_flop
            measured.add(name, str(size), parameters=cost.parameters, flop=flop)
    if not count_only:
        _time_encoders(measured, names, sizes, threads=threads, rounds=rounds, seconds=seconds)


def _time_encoders(
    measured: Measuring,
    names: list[str],
    sizes: list[int],
    *,
    threads: int,
    rounds: int,
    seconds: float,
) -> None:
    """Exports encoders with random weights, and times them; raises ValueError if one fails.

    A time is the middle one of the rounds' medians, of an even number the faster of two.
    """
    from benchmarks.speed.measure import HowLong, measure_subjects, summarize
    from benchmarks.speed.vit_b import encoder_spec
    from export.bundle_writer import write_bundle
    from export.options import ExportOptions
    from export.source import find_source

    how = HowLong(rounds, seconds, at_least=1, at_most=1000)
    with TemporaryDirectory() as folder:
        specs = []
        for name in names:
            measured.say(f"exporting {name}")
            bundle, options = Path(folder, name), ExportOptions(resolutions=tuple(sizes))
            write_bundle(find_source(f"random:{name}"), bundle, options=options)
            spec = f"samclip,precision=fp32,unverified=true,model={bundle}"
            specs.append(encoder_spec(spec, sizes, threads=threads))
        subjects = measure_subjects(measured, specs, how=how)
    for name, subject in zip(names, subjects, strict=True):
        for at, why in subject.failures.items():
            raise ValueError(f"{name}, {at}: {why}")
        for size in sizes:
            every = [each.samples_ms for each in subject.runs[f"image_encoder@{size}"]]
            medians = [summarize([each])["ms"].value for each in every]
            ms = Estimate(median_low(medians), min(medians), max(medians))
            measured.add(name, str(size), n=len(medians), ms=ms)
