"""`python -m benchmarks evaluate SET FOLDER`: a published protocol, on a set that you have."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from benchmarks.command import ModelName, Output, Runtime, measurement
from benchmarks.public import detection, whole_pictures
from benchmarks.public.files import take
from benchmarks.public.record import Evaluation, Figures, render
from benchmarks.public.segmentation import SEMANTIC, load_at, measure_segmentation
from samclip_sdk import SamClip
from samclip_sdk.bundle.open import DEFAULT_MODEL

SETS: dict[str, Any] = {
    **whole_pictures.CLASSIFICATION,
    **whole_pictures.RETRIEVAL,
    **SEMANTIC,
    **detection.DETECTION,
}
"""Set -> what reads it; its docstring tells the layout."""

Dataset = Enum("Dataset", {name: name for name in SETS}, type=str)
LAYOUTS = "\n\n".join(f"{name}: {inspect.getdoc(read)}" for name, read in SETS.items())


Heads = Annotated[Literal["clip_head", "both_heads", "all"], typer.Option(help="which to measure")]
Threshold = Annotated[
    float | None,
    typer.Option(help="below it both heads leave a label or an object out", min=0, max=1),
]
Limit = Annotated[
    int | None, typer.Option(help="at most so many pictures, evenly over the set", min=1)
]
WithTwoModels = Annotated[
    bool, typer.Option("--two-models", help="photographs: a SAM and a CLIP in a row, too")
]
Teachers = Annotated[
    Path | None, typer.Option(help="RUNS/CONFIG: those two; else the model's own halves")
]


def evaluate(
    dataset: Annotated[Dataset, typer.Argument(metavar="SET", help=", ".join(SETS))],
    root: Annotated[Path, typer.Argument(help="the set's folder, laid out as published")],
    boxes: Annotated[Path | None, typer.Option(help="a detector's COCO results")] = None,
    heads: Heads = "all",
    presence_threshold: Threshold = None,
    two_models: WithTwoModels = False,
    teachers: Teachers = None,
    model: ModelName = DEFAULT_MODEL,
    runtime: Runtime = "onnx",
    precision: Annotated[str | None, typer.Option(help="of the artifacts")] = None,
    limit: Limit = None,
    output: Output = None,
) -> None:
    """Evaluates a model by a published protocol, on a public set that you have.

    Classification is top-1 and top-5, and retrieval recall at 1, 5 and 10 both ways. Semantic
    segmentation is mIoU; it alone has heads. Instances are mAP of what the model finds by the
    names of the categories, or of its masks of a detector's boxes. Thresholds are else the
    calibrated ones.
    """
    name = dataset.value
    with measurement(name, output=output) as measured:
        given = {"heads": None if heads == "all" else heads, "boxes": boxes, "teachers": teachers}
        given |= {"presence-threshold": presence_threshold, "two-models": two_models or None}
        _check(name, {option for option, value in given.items() if value is not None})
        # The set is read before the model: that fails soonest.
        data = SETS[name](root) if boxes is None else SETS[name](root, boxes=boxes)
        data = take(data, limit=limit, source=root)
        chosen = {"model": model, "precision": precision}
        if name in SEMANTIC:
            samclip, head = load_at(runtime, **chosen)
            figures = measure_segmentation(
                data,
                clip_head=None if heads == "both_heads" else head,
                both_heads=None if heads == "clip_head" else samclip,
                presence_threshold=presence_threshold,
            )
        else:
            samclip = SamClip.load(runtime, **chosen)
            rival = None
            if two_models:
                # Only here: it needs torch and segment-anything.
                from benchmarks.paper.text_to_mask import by_two_models

                asked = {"names": list(data.names.values()), "most": data.most}
                rival = by_two_models(samclip, root, teachers=teachers, **asked)
            figures = _measure(samclip, data, threshold=presence_threshold, rival=rival)
        record = Evaluation(
            figures=tuple(figures), **measured.run(samclip), dataset=name, limit=limit
        )
        measured.finish(record, render(record))


def _measure(
    model: SamClip, data: Any, *, threshold: float | None, rival: detection.Detect | None
) -> Iterator[Figures]:
    """What a set's kind is measured by."""
    match data:
        case whole_pictures.LabelledPictures():
            yield whole_pictures.measure_accuracy(model, data)
        case whole_pictures.CaptionedPictures():
            yield whole_pictures.measure_retrieval(model, data)
        case detection.DetectedPictures():
            yield detection.measure_instances(model, data)
        case detection.AskedPictures():
            yield from detection.measure_methods(model, data, threshold=threshold, rival=rival)


def _check(dataset: str, given: set[str]) -> None:
    """Refuses options of another protocol."""
    known = {
        "heads": SEMANTIC,
        "presence-threshold": SEMANTIC | detection.DETECTION,
        "two-models": ("photographs",),
        "teachers": ("photographs",),
        "boxes": detection.INSTANCES,
    }
    for option, sets in known.items():
        if option in given and dataset not in sets:
            raise ValueError(f"--{option} is not of {dataset}")
    if {"boxes", "presence-threshold"} <= given:
        raise ValueError("--boxes and --presence-threshold: a box is always segmented")
    if "teachers" in given and "two-models" not in given:
        raise ValueError("--teachers needs --two-models")
