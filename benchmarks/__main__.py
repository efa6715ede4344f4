"""`python -m benchmarks`: measures how well and how fast, and writes it where people read it.

A command keeps its record in the folder runs and prints its tables. With `--write` the record goes
to docs/benchmarks, and every page that shows it is written again.
"""

from __future__ import annotations

import logging
from typing import Annotated

import typer
from rich.console import Console

from benchmarks import costs
from benchmarks.annotate import annotate
from benchmarks.artifacts import record as artifacts_record
from benchmarks.command import ModelName, Output, Runtime, Write, measurement, one_line_errors
from benchmarks.pages import ROOT, stale_pages, write_pages
from benchmarks.paper.command import paper, paper_suite, shown_parts
from benchmarks.public.command import LAYOUTS, evaluate
from benchmarks.quality.command import quality, suite_name
from benchmarks.record import read_record
from benchmarks.reliability.command import reliability
from benchmarks.serve.measure import serve
from benchmarks.speed.command import compare, speed
from benchmarks.suite import command
from benchmarks.tiles import tiles
from benchmarks.video import measure as following
from benchmarks.video.made_video import FRAMES, actors, labels_of, make_frames
from samclip_sdk import SamClip
from samclip_sdk.bundle.open import DEFAULT_MODEL

Precisions = Annotated[list[str], typer.Option(help="a precision; may be given again")]
Sizes = Annotated[list[int], typer.Option(help="side of a picture in pixels; repeatable")]

app = typer.Typer(
    add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True, help=__doc__
)
app.command("quality")(command(suite_name, quality, shows=lambda suite: [suite]))
app.command("evaluate", epilog=LAYOUTS)(command("evaluate", evaluate, shows=["evaluate"]))
app.command()(speed)
app.command()(compare)


@app.command()
def artifacts(
    checkpoints: Annotated[list[str], typer.Argument(help="folders, or random:vit_b")],
    onnx: Precisions = ["fp32", "fp16", "int8"],  # noqa: B006, as typer takes it
    coreml: Precisions = ["fp16", "int8", "palette6"],  # noqa: B006, as typer takes it
    compute_capability: Annotated[str, typer.Option(help="of engines' GPU")] = "8.9",
    output: Output = None,
    write: Write = False,
) -> None:
    """Exports checkpoints for every runtime; tells sizes, build times, parity, task metrics.

    Other models that the record holds from an earlier run stay there.
    """
    with measurement("artifacts", output=output, write=write) as measured:
        # Only here: they need all that exporting needs.
        from benchmarks.artifacts.measure import measure_artifacts
        from export.options import ExportOptions

        place = measured.place
        known = read_record(artifacts_record.Artifacts, place).models if place.exists() else ()
        options = ExportOptions(onnx=tuple(onnx), coreml=tuple(coreml), weights="fp16")
        with Console(stderr=True).status("exporting") as status:
            found = [
                measure_artifacts(
                    checkpoint, options, compute_capability=compute_capability, say=status.update
                )
                for checkpoint in checkpoints
            ]
        names = {each.model.name for each in found}
        kept = [each for each in known if each.model.name not in names]
        record = artifacts_record.Artifacts(models=(*kept, *found))
        measured.finish(record, artifacts_record.render(record))


app.command("paper")(command(paper_suite, paper, shows=shown_parts))


@app.command()
def video(
    model: ModelName = DEFAULT_MODEL,
    runtime: Runtime = "auto",
    threads: Annotated[int, typer.Option(help="the runtime's; 0: its own choice", min=0)] = 0,
    every: Annotated[
        list[int], typer.Option(help="of the stream's encode_every; repeatable", min=1)
    ] = [1, 2, 3, 4],  # noqa: B006, as typer takes it
    frames: Annotated[int, typer.Option(help="of the made video", min=1)] = FRAMES,
    rounds: Annotated[int, typer.Option(help="each times every way once", min=1)] = 3,
    output: Output = None,
    write: Write = False,
) -> None:
    """Follows objects through a made video with occlusion: frames a second, masks and ids."""
    with measurement("video", output=output, write=write) as measured:
        cast = actors()
        made, names = list(make_frames(cast, frames=frames)), labels_of(cast)
        with (
            SamClip.load(runtime, model=model, threads=threads) as samclip,
            Console(stderr=True).status("following") as status,
        ):
            ways = following.measure_ways(
                samclip, made, names=names, every=every, rounds=rounds, say=status.update
            )
            record = following.VideoQuality(
                **measured.run(samclip),
                threads=threads,
                frames=len(made),
                objects=len(names),
                rounds=rounds,
                ways=tuple(ways),
            )
        measured.finish(record, following.render(record))


app.add_typer(reliability, name="reliability")
app.command()(tiles)
app.command()(annotate)
app.command("serve")(command("serve", serve, shows=["serve"]))


@app.command("training-cost")
def training_cost(
    config: Annotated[str, typer.Option(help="a config of training of shards")] = "vit_b",
    pictures: Annotated[float, typer.Option(help="of D_CLIP, in an epoch")] = 40.6e6,
    processes: Annotated[int, typer.Option(help="that share a step")] = 32,
    peak_tflops: Annotated[float, typer.Option(help="of the GPU; A100 in bf16")] = 312.0,
    utilisation: Annotated[float, typer.Option(help="share of it that is reached")] = 0.35,
    output: Output = None,
    write: Write = False,
) -> None:
    """Counts what each stage of a merge costs, in operations and in GPU-hours."""
    with measurement("training_cost", output=output, write=write) as measured:
        # Only here: they need torch.
        from benchmarks.operations import count_stages
        from training.config_file import find_config

        logging.disable(logging.WARNING)  # OpenCLIP's, that there are no weights: none are needed
        stages = count_stages(find_config(config), pictures=pictures, step_processes=processes)
        found = costs.TrainingCost(
            config=config,
            peak_tflops=peak_tflops,
            utilisation=utilisation,
            stages=tuple(stages),
            **measured.run(),
        )
        measured.finish(found, costs.render_training(found))


@app.command()
def encoders(
    preset: Annotated[list[str] | None, typer.Argument(help="if none, all for devices")] = None,
    resolution: Sizes = [512, 1024],  # noqa: B006, as typer takes it
    threads: Annotated[int, typer.Option(help="onnxruntime's; its own choice if 0", min=0)] = 0,
    rounds: Annotated[int, typer.Option(help="each opens every encoder afresh", min=1)] = 3,
    seconds: Annotated[float, typer.Option(help="to time an encoder for, in a round", min=0)] = 2.0,
    count_only: Annotated[bool, typer.Option("--count-only", help="time nothing")] = False,
    output: Output = None,
    write: Write = False,
) -> None:
    """Counts parameters and operations of the presets' image encoders, and times them.

    With random weights, in fp32 on onnxruntime. The machine should be idle.
    """
    with measurement("encoders", output=output, write=write) as measured:
        # Only here: they need torch and all that exporting needs.
        from benchmarks.operations import count_encoders, time_encoders

        presets = costs.find_presets(preset or ())
        with Console(stderr=True).status("counting") as status:
            found = count_encoders(presets, resolutions=resolution, say=status.update)
            if not count_only:
                timing = {"rounds": rounds, "seconds": seconds, "threads": threads}
                found = time_encoders(found, **timing, say=status.update)
        record = costs.EncoderCosts(threads=threads, encoders=tuple(found), **measured.run())
        measured.finish(record, costs.render_encoders(record))


@app.command()
def pages(
    write: Annotated[
        bool, typer.Option("--write", help="write those that are not current, and all charts")
    ] = False,
) -> None:
    """Checks that every page shows the figures of the records in docs/benchmarks."""
    with one_line_errors():
        if write:
            for page in write_pages(ROOT):
                typer.echo(f"Written: {page}")
        elif stale := stale_pages(ROOT):
            raise ValueError(
                f"{', '.join(stale)}: not what was measured; `python -m benchmarks pages --write`"
            )


if __name__ == "__main__":
    app()
