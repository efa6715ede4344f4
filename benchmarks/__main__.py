"""`python -m benchmarks`: measures the quality of a model, and writes it where people read it."""

from __future__ import annotations

import logging
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from rich.console import Console
from rich.markdown import Markdown
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from benchmarks.paper.command import paper, paper_report
from benchmarks.public.command import app as evaluate
from benchmarks.quality.drawings import load_materials
from benchmarks.quality.held_out import write_held_out
from benchmarks.quality.measure import measure_quality
from benchmarks.quality.report import insert_table, render
from benchmarks.record import Quality, Settings, Subject, describe_environment
from benchmarks.speed.command import compare, latency, latency_report, latency_schema
from benchmarks.speed.published_command import performance, performance_report
from samclip_sdk import SamClip
from samclip_sdk.atomic_file import atomic_file
from samclip_sdk.errors import SamClipError

if TYPE_CHECKING:
    from benchmarks.quality.teachers import Teachers

_NOUNS = 150  # of samclip-tiny, where a bundle does not say

app = typer.Typer(
    add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True, help=__doc__
)
app.add_typer(evaluate, name="evaluate")
app.command("paper")(paper)
app.command("paper-report")(paper_report)
app.command("latency")(latency)
app.command("latency-report")(latency_report)
app.command("latency-schema")(latency_schema)
app.command("performance")(performance)
app.command("performance-report")(performance_report)
app.command("compare")(compare)


@app.command()
def quality(
    model: Annotated[
        str, typer.Option(help="an embedded bundle's name, a bundle, a checkpoint")
    ] = ("samclip-tiny"),
    runtime: Annotated[str, typer.Option(help="onnx, or torch for a checkpoint")] = "onnx",
    openmoji: Annotated[
        Path | None, typer.Option(help="heldout_openmoji.zip, its .csv beside it", exists=True)
    ] = None,
    teachers: Annotated[
        Path | None, typer.Option(help="RUNS/CONFIG: measure its teachers too", exists=True)
    ] = None,
    nouns: Annotated[
        int | None, typer.Option(help="how many nouns it was taught; else as its provenance says")
    ] = None,
    pictures: Annotated[int, typer.Option(help="composed single objects a split", min=1)] = 500,
    scenes: Annotated[int, typer.Option(help="composed scenes a split", min=1)] = 150,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    output: Annotated[Path, typer.Option(help="the result, JSON")] = Path("quality.json"),
) -> None:
    """Measures zero-shot accuracy, prompts and text-to-mask on drawings that no training saw."""
    try:
        if not output.absolute().parent.is_dir():
            _fail(f"the folder of {output} does not exist")
        samclip = SamClip.load(runtime, model=model)
        subject, taught = _describe(samclip, runtime=runtime)
        settings = Settings(nouns=nouns or taught, pictures=pictures, scenes=scenes, seed=seed)
        record = _measure(samclip, subject, settings, openmoji=openmoji, teachers=teachers)
        with atomic_file(output) as file:
            file.write(f"{record.model_dump_json(indent=1)}\n".encode())
    except (SamClipError, OSError, ValueError) as error:
        _fail(str(error))
    Console().print(Markdown(render(record)))


@app.command()
def report(
    source: Annotated[Path, typer.Argument(help="what quality wrote", exists=True)],
    pages: Annotated[list[Path], typer.Argument(help="Markdown with the markers", exists=True)],
) -> None:
    """Writes the table into pages, between <!-- quality --> and <!-- /quality -->."""
    try:
        table = render(Quality.model_validate_json(source.read_bytes()))
        # All of them in memory first: if one has no markers, none is changed.
        filled = [(page, insert_table(page.read_text(encoding="utf-8"), table)) for page in pages]
        for page, text in filled:
            with atomic_file(page) as file:
                file.write(text.encode())
    except (SamClipError, OSError, ValueError) as error:
        _fail(str(error))


@app.command()
def runtimes(
    checkpoints: Annotated[list[str], typer.Argument(help="folders, or random:vit_b")],
    onnx: Annotated[
        list[str] | None, typer.Option(help="fp32, fp16 or int8; repeatable; all if none is given")
    ] = None,
    coreml: Annotated[
        list[str] | None, typer.Option(help="fp16, int8 or palette6; repeatable, all if none")
    ] = None,
    weights: Annotated[str, typer.Option(help="how fp32 graphs store theirs: fp32, fp16")] = "fp16",
    compute_capability: Annotated[
        str, typer.Option(help="of the GPU that TensorRT engines are built for")
    ] = "8.9",
    output: Annotated[Path, typer.Option(help="the result, JSON")] = Path("runtimes.json"),
    page: Annotated[
        Path | None,
        typer.Option(help="Markdown with <!-- runtimes --> and its end", exists=True),
    ] = None,
) -> None:
    """Exports checkpoints for every runtime; tells sizes, build times, parity, task metrics."""
    # Only here: it needs all that exporting needs.
    from benchmarks.artifacts.command import run_runtimes

    try:
        if not output.absolute().parent.is_dir():
            _fail(f"the folder of {output} does not exist")
        run_runtimes(
            checkpoints,
            onnx=tuple(onnx or ("fp32", "fp16", "int8")),
            coreml=tuple(coreml or ("fp16", "int8", "palette6")),
            weights="fp16" if weights == "fp16" else "fp32",
            compute_capability=compute_capability,
            output=output,
            page=page,
        )
    except (SamClipError, OSError, ValueError) as error:
        _fail(str(error))


@app.command("held-out")
def held_out(
    folder: Annotated[Path, typer.Argument(help="where they go", exists=True, file_okay=False)],
    pictures: Annotated[int, typer.Option(min=1)] = 24,
    seed: Annotated[int, typer.Option(min=0)] = 4,
) -> None:
    """Writes the pictures that exported artifacts are compared with torch on."""
    try:
        write_held_out(folder, nouns=_NOUNS, pictures=pictures, seed=seed)
    except (SamClipError, OSError, ValueError) as error:
        _fail(str(error))


@app.command("training-cost")
def training_cost(
    config: Annotated[str, typer.Option(help="a config of training of shards")] = "vit_b",
    pictures: Annotated[float, typer.Option(help="of D_CLIP, in an epoch")] = 40.6e6,
    processes: Annotated[int, typer.Option(help="that share a step")] = 32,
    peak_tflops: Annotated[float, typer.Option(help="of the GPU; A100 in bf16")] = 312.0,
    utilisation: Annotated[float, typer.Option(help="share of it that is reached")] = 0.35,
) -> None:
    """Counts what each stage of a merge costs, in operations and in GPU-hours."""
    # Only here: they need torch.
    from benchmarks.training_cost import merge_costs, render_costs
    from training.config import find_config

    logging.disable(logging.WARNING)  # OpenCLIP's, that there are no weights: there are no values
    costs = merge_costs(find_config(config), pictures=pictures, step_processes=processes)
    typer.echo(render_costs(costs, peak_tflops=peak_tflops, utilisation=utilisation))


def _describe(samclip: SamClip, *, runtime: str) -> tuple[Subject, int]:
    """Who is measured, and how many nouns it was taught by its own account."""
    manifest = samclip.manifest
    subject = Subject(
        name=manifest.name,
        revision=manifest.revision,
        runtime=runtime,
        random_weights=manifest.random_weights,
    )
    # A bundle quotes the provenance of the checkpoint that it was exported from.
    provenance = manifest.provenance.get("checkpoint", manifest.provenance)
    taught = provenance.get("nouns") if isinstance(provenance, dict) else None
    return subject, taught if isinstance(taught, int) else _NOUNS


def _measure(
    samclip: SamClip,
    subject: Subject,
    settings: Settings,
    *,
    openmoji: Path | None,
    teachers: Path | None,
) -> Quality:
    started = time.perf_counter()
    materials, cutouts = load_materials(settings, openmoji=openmoji)
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    ) as progress:
        figures = measure_quality(
            samclip,
            materials=materials,
            cutouts=cutouts,
            teachers=None if teachers is None else _load_teachers(teachers),
            progress=progress,
        )
    return Quality(
        subject=subject,
        environment=describe_environment(sys.argv[1:]),
        settings=settings,
        seconds=round(time.perf_counter() - started, 1),
        top_k=tuple(figures.top_k),
        prompts=tuple(figures.prompts),
        text_to_mask=tuple(figures.text_to_mask),
    )


def _load_teachers(run: Path) -> Teachers:
    # Only here: the teachers need torch and timm, which a measured bundle does not.
    from benchmarks.quality.teachers import load_teachers

    return load_teachers(run)


def _fail(message: str) -> NoReturn:
    typer.echo(f"error: {message}", err=True)
    raise typer.Exit(1)


if __name__ == "__main__":
    app()
