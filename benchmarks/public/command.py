"""`python -m benchmarks evaluate SET FOLDER`: a published protocol, on a set that you have."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from benchmarks.public import detection, saco, whole_images
from benchmarks.public.detection import by_one_model
from benchmarks.public.files import take
from benchmarks.public.segmentation import SEMANTIC, SemanticSet, load_at, measure_segmentation
from benchmarks.quality.photographs import tuning_images
from benchmarks.suite import Measuring, ModelName, Runtime
from benchmarks.two_models import by_two_models
from samclip_sdk.bundle.open import DEFAULT_MODEL

SETS: dict[str, Any] = {
    **whole_images.CLASSIFICATION,
    **whole_images.RETRIEVAL,
    **SEMANTIC,
    **detection.DETECTION,
    **saco.PHRASES,
}
"""Set -> what reads it; its docstring tells the layout."""

Dataset = Enum("Dataset", {name: name for name in SETS}, type=str)
LAYOUTS = "\n\n".join(f"{name}: {inspect.getdoc(read)}" for name, read in SETS.items())

_GATED = SEMANTIC.keys() | detection.DETECTION.keys() | saco.PHRASES.keys()
_OPTIONS = {
    "heads": SEMANTIC.keys(),
    "presence_threshold": _GATED,
    "min_score": saco.PHRASES.keys(),
    "two_models": {"photographs"},
    "teachers": {"photographs"},
    "boxes": set(detection.INSTANCES),
}
"""Option -> the sets that it is of."""

Limit = Annotated[
    int | None, typer.Option(help="at most so many images, evenly over the set", min=1)
]


@dataclass(frozen=True)
class ProtocolOptions:
    """What single protocols can be asked."""

    boxes: Annotated[Path | None, typer.Option(help="a detector's COCO results")] = None
    heads: Annotated[
        Literal["clip_head", "both_heads"] | None, typer.Option(help="measure these alone")
    ] = None
    presence_threshold: Annotated[
        float | None, typer.Option(help="below it a label or an object is left out", min=0, max=1)
    ] = None
    min_score: Annotated[
        float | None, typer.Option(help="of objects: below it one is dropped", min=0, max=1)
    ] = None
    two_models: Annotated[
        bool, typer.Option("--two-models", help="photographs: a SAM and a CLIP in a row, too")
    ] = False
    teachers: Annotated[
        Path | None, typer.Option(help="RUNS/CONFIG: those two; else the model's own halves")
    ] = None

    def check(self, dataset: str) -> None:
        """Refuses options of another protocol; raises ValueError."""
        given = {
            name for name, value in vars(self).items() if value is not None and value is not False
        }
        for option in sorted(given):
            if dataset not in _OPTIONS[option]:
                raise ValueError(f"--{option.replace('_', '-')} is not of {dataset}")
        if {"boxes", "presence_threshold"} <= given:
            raise ValueError("--boxes goes without --presence-threshold")
        if "teachers" in given and "two_models" not in given:
            raise ValueError("--teachers needs --two-models")


def evaluate(
    measured: Measuring,
    dataset: Annotated[Dataset, typer.Argument(metavar="SET", help=", ".join(SETS))],
    root: Annotated[Path, typer.Argument(help="the set's folder, laid out as published")],
    *,
    given: ProtocolOptions,
    model: ModelName = DEFAULT_MODEL,
    runtime: Runtime = "onnx",
    limit: Limit = None,
) -> None:
    """Evaluates a model by a published protocol, on a public set that you have.

    Classification is top-1 and top-5, and retrieval recall at 1, 5 and 10 both ways. Semantic
    segmentation is mIoU; it alone has heads, and the mean of the eight usual sets stands below once
    all are measured. Instances are mAP of what the model finds by the names of the categories, or
    of its masks of a detector's boxes; SA-Co's are cgF1. Thresholds are else the calibrated ones.
    """
    name, boxes = dataset.value, given.boxes
    given.check(name)
    # The set is read before the model: that fails soonest.
    data = SETS[name](root) if boxes is None else SETS[name](root, boxes=boxes)
    data = take(data, limit=limit, source=root)
    samclip, head = load_at(runtime, model=model)
    measured.of(samclip)
    gate = given.presence_threshold
    if gate is None:
        gate = samclip.manifest.calibration.presence_threshold
    if name in _GATED and boxes is None:
        measured.settings |= {"presence_threshold": gate}
    match data:
        case SemanticSet():
            both = {"clip_head": head, "both_heads": samclip}
            asked = {each: model for each, model in both.items() if given.heads in (None, each)}
            measure_segmentation(measured, data, asked, name=name, threshold=gate)
        case whole_images.LabelledImages():
            whole_images.measure_accuracy(measured, samclip, data, name=name)
        case whole_images.CaptionedImages():
            whole_images.measure_retrieval(measured, samclip, data, name=name)
        case saco.PhrasedImages():
            asked = {"threshold": gate, "min_score": given.min_score or 0.0}
            saco.measure_phrases(measured, samclip, data, name=name, **asked)
        case detection.DetectedImages(boxes=dict()):
            detection.measure_instances(measured, samclip, data, subject=f"{name}: from boxes")
        case detection.DetectedImages():
            names, maximum = [*data.names.values()], data.maximum
            detect = {"one_model": by_one_model(samclip, names, maximum=maximum, threshold=gate)}
            if given.two_models:
                asked = {"names": names, "run": given.teachers, "maximum": maximum}
                tuning = tuning_images(root, seed=0)
                detect["two_models"] = by_two_models(samclip, tuning, **asked)
            for who, each in detect.items():
                detection.measure_detection(measured, each, data, subject=f"{name}: {who}")
