"""The record of an evaluation, and its table: which set, by which settings, what was measured.

The table stands beside what the paper reports for its own model.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from benchmarks.quality.record import HEADS
from benchmarks.record import Model, Record, Run, Share
from benchmarks.report import NONE, percent, table


class Accuracy(Record):
    """Zero-shot classification: each label averaged over `templates` prompts."""

    kind: Literal["accuracy"] = "accuracy"
    pictures: int
    labels: int
    templates: int
    resolution_px: int
    crop: Literal["letterbox", "center_crop"]
    top1: Share
    top5: Share


class RecallAt(Record):
    """The share of queries with a right answer among the first 1, 5 and 10."""

    r1: Share
    r5: Share
    r10: Share


class Retrieval(Record):
    """Both ways between pictures and captions. `cut` captions were longer than the context."""

    kind: Literal["retrieval"] = "retrieval"
    pictures: int
    captions: int
    cut: int
    resolution_px: int
    crop: Literal["letterbox", "center_crop"]
    image_to_text: RecallAt
    text_to_image: RecallAt


class ClassIou(Record):
    """A label as it was asked. None: in no picture, and never answered."""

    label: str
    iou: Share | None


class Segmentation(Record):
    """Semantic segmentation: the confusion of all pixels of all pictures.

    `resize` is how a picture was put into the model's input. `background_threshold` is the score
    below which the CLIP head alone says background, None where it always names a label;
    `presence_threshold` is below which both heads count a label as absent. `unanswered` is the
    share of the pixels that got no label in a set without background.
    """

    kind: Literal["segmentation"] = "segmentation"
    heads: Literal["clip_head", "both_heads"]
    resolution_px: int
    resize: Literal["square", "letterbox"]
    background_threshold: float | None
    presence_threshold: float | None
    pictures: int
    miou: Share
    unanswered: Share
    classes: tuple[ClassIou, ...]


class AveragePrecision(Record):
    """Means over categories, as the set's evaluator has them; None where there is no truth."""

    ap: Share | None
    ap50: Share | None
    ap75: Share | None
    ap_small: Share | None
    ap_medium: Share | None
    ap_large: Share | None
    ap_rare: Share | None = None
    ap_common: Share | None = None
    ap_frequent: Share | None = None


class Instances(AveragePrecision):
    """Instance segmentation with a detector's boxes and scores.

    `boxes` were segmented; `left_out` were empty within their picture.
    """

    kind: Literal["instances"] = "instances"
    pictures: int
    boxes: int
    left_out: int
    resolution_px: int


class Detections(Record):
    """Objects that were found by the names of the categories, without boxes from anywhere.

    `method` is the model by itself, or a SAM that segments everything and a CLIP that names crops
    of it, one after the other. `milliseconds` are a picture's, from its pixels to named masks.
    """

    kind: Literal["detections"] = "detections"
    method: Literal["one_model", "two_models"]
    pictures: int
    categories: int
    found: int
    presence_threshold: float | None
    resolution_px: int
    milliseconds: float
    masks: AveragePrecision
    boxes: AveragePrecision


Figures = Annotated[
    Accuracy | Retrieval | Segmentation | Instances | Detections, Field(discriminator="kind")
]


class Evaluation(Run):
    """The whole of a record. `limit` is the most pictures to take, null for the whole set."""

    model: Model
    dataset: str
    limit: int | None
    figures: tuple[Figures, ...]


PUBLISHED = {
    "imagenet": {"top-1": "72.4 at 336 px"},
    "imagenet-v2": {"top-1": "63.2 at 336 px"},
    "places365": {"top-1": "43.6 at 336 px"},
    "flickr30k": {"text to image, R@1": "79.2 at 336 px"},
    "coco-captions": {"text to image, R@1": "49.3 at 336 px"},
    "pascal-voc": {
        "mIoU, CLIP head alone": "60.6 at 448 px",
        "mIoU, both heads": "66.0 at 1024 px",
    },
    "pascal-context": {"mIoU, CLIP head alone": "29.2 at 448 px"},
    "ade20k": {"mIoU, CLIP head alone": "17.1 at 448 px"},
    "coco-stuff": {"mIoU, CLIP head alone": "31.5 at 448 px"},
    "coco-panoptic": {"mIoU, CLIP head alone": "28.8 at 448 px"},
    "coco-instances": {"AP": "40.9 at 1024 px"},
    "lvis": {"AP": "35.0 at 1024 px"},
}
"""SAM-CLIP ViT-B (arXiv 2310.15308), tables 1, 2, 5 and 6, in percent."""

_METHODS = {"one_model": "one model", "two_models": "SAM and CLIP in a row"}


def render(evaluation: Evaluation) -> str:
    """The figures in percent; the last column is the paper's model, not the measured one."""
    model, published = evaluation.model, PUBLISHED.get(evaluation.dataset, {})
    rows = []
    for figures in evaluation.figures:
        rows += [
            [name, percent(value), published.get(name, NONE)]
            for name, value in _shares(figures).items()
        ]
        if isinstance(figures, Detections):
            took = f"{figures.milliseconds:.0f}"
            rows.append([f"milliseconds a picture, {_METHODS[figures.method]}", took, ""])
        rows.append(["pictures", f"{figures.pictures} at {figures.resolution_px} px", ""])
    title = f"{model.text.replace('`', '')}: {evaluation.dataset}"
    return f"{title}\n\n{table(('percent', 'measured', 'SAM-CLIP in the paper'), rows)}\n"


def _precisions(found: AveragePrecision, suffix: str = "") -> dict[str, float | None]:
    return {
        f"AP{name.removeprefix('ap').replace('_', ', ')}{suffix}": getattr(found, name)
        for name, field in AveragePrecision.model_fields.items()
        if field.is_required() or getattr(found, name) is not None
    }


def _shares(figures: Figures) -> dict[str, float | None]:
    match figures:
        case Accuracy():
            return {"top-1": figures.top1, "top-5": figures.top5}
        case Retrieval():
            ways = {"image to text": figures.image_to_text, "text to image": figures.text_to_image}
            return {
                f"{way}, R@{first}": getattr(recall, f"r{first}")
                for way, recall in ways.items()
                for first in (1, 5, 10)
            }
        case Instances():
            return _precisions(figures)
        case Detections():
            method = _METHODS[figures.method]
            masks = _precisions(figures.masks, f" (masks, {method})")
            return masks | _precisions(figures.boxes, f" (boxes, {method})")
        case Segmentation():
            shares = {f"mIoU, {HEADS[figures.heads]}": figures.miou}
            missed = {"pixels without a label": figures.unanswered}
            return shares | (missed if figures.unanswered else {})
