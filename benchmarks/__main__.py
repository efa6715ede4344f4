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
from benchmarks.artifacts.command import artifacts
from benchmarks.command import Output, Write, measurement, one_line_errors
from benchmarks.costs import EncoderCosts, TrainingCost, find_presets
from benchmarks.pages import ROOT, stale_pages, write_pages
from benchmarks.paper.command import paper
from benchmarks.public.command import LAYOUTS, evaluate
from benchmarks.quality.command import held_out, quality
from benchmarks.speed.command import compare, speed
from benchmarks.tiles import tiles
from benchmarks.video.command import video

Sizes = Annotated[list[int], typer.Option(help="side of a picture in pixels; repeatable")]

app = typer.Typer(
    add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True, help=__doc__
)
app.command()(quality)
app.command(epilog=LAYOUTS)(evaluate)
app.command()(speed)
app.command()(compare)
app.command()(artifacts)
app.command()(paper)
app.command()(video)
app.command("held-out")(held_out)
app.command()(tiles)


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
        found = TrainingCost(
            config=config,
            peak_tflops=peak_tflops,
            utilisation=utilisation,
            stages=tuple(stages),
            **measured.run(),
        )
        measured.finish(found, costs.render_training(found))


@app.command()
def encoders(
    preset: Annotated[list[str] | None, typer.Argument(help="all if none is given")] = None,
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
        from benchmarks.operations import Rounds, measure_encoders

        presets = find_presets(preset or ())
        timing = None if count_only else Rounds(rounds=rounds, seconds=seconds, threads=threads)
        with Console(stderr=True).status("counting") as status:
            found = measure_encoders(
                presets, resolutions=resolution, timing=timing, say=status.update
            )
        record = EncoderCosts(threads=threads, encoders=tuple(found), **measured.run())
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
