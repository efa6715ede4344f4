"""The record of an evaluation: which set, by which settings, and the figures of its protocol."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from benchmarks.record import Model, Record, Run, Share


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


class Instances(Record):
    """Instance segmentation with a detector's boxes and scores; None where there is no truth.

    `boxes` were segmented; `left_out` were empty within their picture.
    """

    kind: Literal["instances"] = "instances"
    pictures: int
    boxes: int
    left_out: int
    resolution_px: int
    ap: Share | None
    ap50: Share | None
    ap75: Share | None
    ap_small: Share | None
    ap_medium: Share | None
    ap_large: Share | None
    ap_rare: Share | None = None
    ap_common: Share | None = None
    ap_frequent: Share | None = None


Figures = Annotated[Accuracy | Retrieval | Segmentation | Instances, Field(discriminator="kind")]


class Evaluation(Run):
    """The whole of a record. `limit` is the most pictures to take, null for the whole set."""

    model: Model
    dataset: str
    limit: int | None
    figures: tuple[Figures, ...]
