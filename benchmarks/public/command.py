"""`python -m benchmarks evaluate DATASET ROOT`: a command for each set, alike within a protocol."""

from __future__ import annotations

import inspect
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from benchmarks.public.classification import CLASSIFICATION, measure_accuracy
from benchmarks.public.files import DatasetError
from benchmarks.public.instances import INSTANCES, measure_instances
from benchmarks.public.record import Evaluation, EvaluationSettings, Figures
from benchmarks.public.resolution import load_at
from benchmarks.public.retrieval import RETRIEVAL, measure_retrieval
from benchmarks.public.segmentation import measure_segmentation
from benchmarks.public.semantic_sets import SEMANTIC
from benchmarks.public.table import render
from benchmarks.record import Subject, describe_environment
from samclip_sdk import SamClip
from samclip_sdk.atomic_file import atomic_file
from samclip_sdk.errors import SamClipError

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    help="Evaluates a model by a published protocol, on a public set that you have.",
)

Root = Annotated[Path, typer.Argument(help="the set's folder, laid out as published")]
Model = Annotated[str, typer.Option(help="an embedded bundle's name, a bundle, a checkpoint")]
Runtime = Annotated[str, typer.Option(help="onnx, or torch for a checkpoint")]
Precision = Annotated[str | None, typer.Option(help="of a bundle's artifacts; else the preferred")]
Limit = Annotated[
    int | None, typer.Option(help="at most so many pictures, evenly over the set", min=1)
]
Output = Annotated[Path | None, typer.Option(help="the result, JSON; else DATASET.json")]
Boxes = Annotated[Path, typer.Option(help="a detector's COCO results: bbox XYWH and score")]
HeadResolution = Annotated[
    int | None, typer.Option(help="px, of the CLIP head alone; else 448 if the model has it", min=1)
]
Background = Annotated[
    float | None,
    typer.Option(
        help="score below which the CLIP head alone says background; else the calibrated one",
        min=0.001,
        max=0.999,
    ),
]

Presence = Annotated[
    float | None,
    typer.Option(
        help="presence below which both heads leave a label out, 0 for never; else the "
        "calibrated one",
        min=0,
        max=1,
    ),
]


class Heads(str, Enum):
    """Which of the two settings of semantic segmentation to measure."""

    clip_head = "clip_head"
    both_heads = "both_heads"
    all = "all"


@dataclass(frozen=True)
class Asked:
    """What every command is asked alike."""

    dataset: str
    root: Path
    model: str
    runtime: str
    precision: str | None
    limit: int | None
    output: Path | None

    def load(self) -> SamClip:
        """The model, at its own resolutions."""
        return SamClip.load(self.runtime, model=self.model, precision=self.precision)


Job = tuple[SamClip, Callable[[Progress], Sequence[Figures]]]
"""A model, and what measures it."""

Prepare = Callable[[Asked], Job]
"""Reads the set, which fails soonest, then loads the model."""


def _accuracy(asked: Asked) -> Job:
    data = CLASSIFICATION[asked.dataset](asked.root, limit=asked.limit)
    samclip = asked.load()
    return samclip, lambda progress: [measure_accuracy(samclip, data, progress=progress)]


def _retrieval(asked: Asked) -> Job:
    data = RETRIEVAL[asked.dataset](asked.root, limit=asked.limit)
    samclip = asked.load()
    return samclip, lambda progress: [measure_retrieval(samclip, data, progress=progress)]


def _plain_command(dataset: str, prepare: Prepare) -> Callable[..., None]:
    def command(
        root: Root,
        model: Model = "samclip-tiny",
        runtime: Runtime = "onnx",
        precision: Precision = None,
        limit: Limit = None,
        output: Output = None,
    ) -> None:
        _evaluate(Asked(dataset, root, model, runtime, precision, limit, output), prepare)

    return command


def _semantic_command(dataset: str) -> Callable[..., None]:
    def command(
        root: Root,
        heads: Annotated[Heads, typer.Option(help="which heads to measure")] = Heads.all,
        head_resolution: HeadResolution = None,
        background_threshold: Background = None,
        presence_threshold: Presence = None,
        model: Model = "samclip-tiny",
        runtime: Runtime = "onnx",
        precision: Precision = None,
        limit: Limit = None,
        output: Output = None,
    ) -> None:
        def prepare(asked: Asked) -> Job:
            data = SEMANTIC[dataset](root, limit=limit)
            samclip, clip_head = load_at(
                runtime, model=model, precision=precision, head_resolution_px=head_resolution
            )
            return samclip, lambda progress: list(
                measure_segmentation(
                    data,
                    clip_head=None if heads is Heads.both_heads else clip_head,
                    both_heads=None if heads is Heads.clip_head else samclip,
                    background_threshold=background_threshold,
                    presence_threshold=presence_threshold,
                    progress=progress,
                )
            )

        _evaluate(Asked(dataset, root, model, runtime, precision, limit, output), prepare)

    return command


def _instances_command(dataset: str) -> Callable[..., None]:
    def command(
        root: Root,
        boxes: Boxes,
        model: Model = "samclip-tiny",
        runtime: Runtime = "onnx",
        precision: Precision = None,
        limit: Limit = None,
        output: Output = None,
    ) -> None:
        def prepare(asked: Asked) -> Job:
            data = INSTANCES[dataset](root, boxes=boxes, limit=limit)
            samclip = asked.load()
            return samclip, lambda progress: [measure_instances(samclip, data, progress=progress)]

        _evaluate(Asked(dataset, root, model, runtime, precision, limit, output), prepare)

    return command


def _evaluate(asked: Asked, prepare: Prepare) -> None:
    """Runs one command: the result is written whole, or an error says in one line why not."""
    output = asked.output or Path(f"{asked.dataset}.json")
    started = time.perf_counter()
    try:
        if not output.absolute().parent.is_dir():
            raise DatasetError(f"the folder of {output} does not exist")
        samclip, measure = prepare(asked)
        with Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        ) as progress:
            figures = measure(progress)
        evaluation = Evaluation(
            subject=_subject(samclip, runtime=asked.runtime),
            environment=describe_environment(sys.argv[1:]),
            settings=EvaluationSettings(
                dataset=asked.dataset, precision=asked.precision, limit=asked.limit
            ),
            seconds=round(time.perf_counter() - started, 1),
            figures=tuple(figures),
        )
        with atomic_file(output) as file:
            file.write(f"{evaluation.model_dump_json(indent=1)}\n".encode())
    except (SamClipError, OSError, ValueError) as error:
        _fail(str(error))
    Console().print(render(evaluation))


def _subject(samclip: SamClip, *, runtime: str) -> Subject:
    manifest = samclip.manifest
    return Subject(
        name=manifest.name,
        revision=manifest.revision,
        runtime=runtime,
        random_weights=manifest.random_weights,
    )


def _fail(message: str) -> NoReturn:
    typer.echo(f"error: {' '.join(message.split())}", err=True)
    raise typer.Exit(1)


def _help(what: str, read: Callable[..., object]) -> str:
    """What a command measures, and the layout that it expects, as its reader's docstring has it."""
    layout = inspect.cleandoc(read.__doc__ or "").partition("\n\nRaises:")[0]
    return f"{what}\n\n{layout}"


for _name, _classes in CLASSIFICATION.items():
    _text = _help("Zero-shot classification, top-1 and top-5.", _classes)
    app.command(_name, help=_text)(_plain_command(_name, _accuracy))
for _name, _captions in RETRIEVAL.items():
    _text = _help("Captions and pictures, recall at 1, 5 and 10 both ways.", _captions)
    app.command(_name, help=_text)(_plain_command(_name, _retrieval))
for _name, _semantic in SEMANTIC.items():
    _text = _help("Zero-shot semantic segmentation, mIoU.", _semantic)
    app.command(_name, help=_text)(_semantic_command(_name))
for _name, _boxed in INSTANCES.items():
    _text = _help("Masks of a detector's boxes, mAP.", _boxed)
    app.command(_name, help=_text)(_instances_command(_name))
