"""`python -m benchmarks evaluate DATASET ROOT`: a command for each set, alike within a protocol."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Sequence
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.command import ModelName, Output, Runtime, find_place, finish, one_line_errors
from benchmarks.public.classification import CLASSIFICATION, measure_accuracy
from benchmarks.public.instances import INSTANCES, measure_instances
from benchmarks.public.record import Evaluation, Figures
from benchmarks.public.resolution import load_at
from benchmarks.public.retrieval import RETRIEVAL, measure_retrieval
from benchmarks.public.segmentation import measure_segmentation
from benchmarks.public.semantic_sets import SEMANTIC
from benchmarks.public.table import render
from benchmarks.record import describe_environment, describe_model
from samclip_sdk import SamClip

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    help="Evaluates a model by a published protocol, on a public set that you have.",
)

Root = Annotated[Path, typer.Argument(help="the set's folder, laid out as published")]
Precision = Annotated[str | None, typer.Option(help="of a bundle's artifacts; else the preferred")]
Limit = Annotated[
    int | None, typer.Option(help="at most so many pictures, evenly over the set", min=1)
]
Found = tuple[SamClip, Sequence[Figures]]
"""A model, and what it reached."""

_WHOLE_PICTURES: dict[str, tuple[Callable[..., Any], Callable[..., Figures], str]] = {
    **{
        name: (read, measure_accuracy, "Zero-shot classification, top-1 and top-5.")
        for name, read in CLASSIFICATION.items()
    },
    **{
        name: (read, measure_retrieval, "Captions and pictures, recall at 1, 5, 10 both ways.")
        for name, read in RETRIEVAL.items()
    },
}
"""Set -> what reads it, what measures a model on that, and what it is."""


class Heads(str, Enum):
    """Which of the two settings of semantic segmentation to measure."""

    clip_head = "clip_head"
    both_heads = "both_heads"
    all = "all"


def whole_pictures(
    context: typer.Context,
    root: Root,
    model: ModelName = "samclip-tiny",
    runtime: Runtime = "onnx",
    precision: Precision = None,
    limit: Limit = None,
    output: Output = None,
) -> None:
    """Measures embeddings of whole pictures."""

    def measure(dataset: str) -> Found:
        read, judge, _ = _WHOLE_PICTURES[dataset]
        data = read(root, limit=limit)
        samclip = SamClip.load(runtime, model=model, precision=precision)
        return samclip, [judge(samclip, data)]

    _evaluate(context, measure, limit=limit, output=output)


def semantic(
    context: typer.Context,
    root: Root,
    heads: Annotated[Heads, typer.Option(help="which heads to measure")] = Heads.all,
    head_resolution: Annotated[
        int | None,
        typer.Option(help="px, of the CLIP head alone; else 448 if the model has it", min=1),
    ] = None,
    background_threshold: Annotated[
        float | None,
        typer.Option(
            help="score below which the CLIP head alone says background; else the calibrated one",
            min=0.001,
            max=0.999,
        ),
    ] = None,
    presence_threshold: Annotated[
        float | None,
        typer.Option(
            help="presence below which both heads leave a label out, 0 for never; else the "
            "calibrated one",
            min=0,
            max=1,
        ),
    ] = None,
    model: ModelName = "samclip-tiny",
    runtime: Runtime = "onnx",
    precision: Precision = None,
    limit: Limit = None,
    output: Output = None,
) -> None:
    """Measures a label for each pixel."""

    def measure(dataset: str) -> Found:
        data = SEMANTIC[dataset](root, limit=limit)
        both, head = load_at(
            runtime, model=model, precision=precision, head_resolution_px=head_resolution
        )
        figures = measure_segmentation(
            data,
            clip_head=None if heads is Heads.both_heads else head,
            both_heads=None if heads is Heads.clip_head else both,
            background_threshold=background_threshold,
            presence_threshold=presence_threshold,
        )
        return both, list(figures)

    _evaluate(context, measure, limit=limit, output=output)


def instances(
    context: typer.Context,
    root: Root,
    boxes: Annotated[Path, typer.Option(help="a detector's COCO results: bbox XYWH and score")],
    model: ModelName = "samclip-tiny",
    runtime: Runtime = "onnx",
    precision: Precision = None,
    limit: Limit = None,
    output: Output = None,
) -> None:
    """Measures masks of a detector's boxes."""

    def measure(dataset: str) -> Found:
        data = INSTANCES[dataset](root, boxes=boxes, limit=limit)
        samclip = SamClip.load(runtime, model=model, precision=precision)
        return samclip, [measure_instances(samclip, data)]

    _evaluate(context, measure, limit=limit, output=output)


def _evaluate(
    context: typer.Context,
    measure: Callable[[str], Found],
    *,
    limit: int | None,
    output: Path | None,
) -> None:
    """Runs the command of a set: the set is read first, which fails soonest."""
    dataset = str(context.info_name)
    with one_line_errors():
        place, started = find_place(dataset, output=output, write=False), time.perf_counter()
        samclip, figures = measure(dataset)
        record = Evaluation(
            environment=describe_environment(),
            seconds=round(time.perf_counter() - started, 1),
            model=describe_model(samclip),
            dataset=dataset,
            limit=limit,
            figures=tuple(figures),
        )
        finish(record, render(record), place=place, write=False)


def _add(command: Callable[..., None], name: str, what: str, read: Callable[..., object]) -> None:
    """Adds the command of a set; its help has the layout, as the reader's docstring tells it."""
    layout = inspect.cleandoc(read.__doc__ or "").partition("\n\nRaises:")[0]
    app.command(name, help=f"{what}\n\n{layout}")(command)


for _name, (_read, _, _what) in _WHOLE_PICTURES.items():
    _add(whole_pictures, _name, _what, _read)
for _name, _semantic in SEMANTIC.items():
    _add(semantic, _name, "Zero-shot semantic segmentation, mIoU.", _semantic)
for _name, _boxed in INSTANCES.items():
    _add(instances, _name, "Masks of a detector's boxes, mAP.", _boxed)
