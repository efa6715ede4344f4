"""The record of the reproduction: one part for each thing that the paper shows.

There are two: paper.json is of drawings, paper_photographs.json of photographs.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Generic, Literal, TypeVar

import numpy as np
from pydantic import Field, JsonValue

from benchmarks.quality.record import PromptIou, Settings, TextToMask
from benchmarks.quality.scores import share_within
from benchmarks.record import Record, Run, Share, read_record, write_record

Figures = TypeVar("Figures", bound=Record)


class PaperSettings(Settings):
    """What was asked: of the pictures as in a quality run, and `steps` of the short trainings."""

    steps: int = Field(gt=0)


class PhotographSettings(Record):
    """What was asked of photographs of the split "val": so many of each kind at most.

    Of the `sets`, `complete` label everything. `pictures` are those that are named, `scenes` those
    with masks.
    """

    sets: int
    complete: int
    pictures: int = Field(gt=0)
    scenes: int = Field(gt=0)
    seed: int = Field(default=0, ge=0)


class TopK(Record):
    """Zero-shot or probed top-1 and top-5, of `labels` names.

    `pictures` is null where it was not kept.
    """

    labels: int
    pictures: int | None = None
    top1: Share
    top5: Share

    @classmethod
    def of(cls, ranks: Sequence[int] | np.ndarray, *, labels: int) -> TopK:
        """Of how many wrong names come first in each picture."""
        top1, top5 = share_within(ranks, 1), share_within(ranks, 5)
        return cls(labels=labels, pictures=len(ranks), top1=top1, top5=top5)


Kind = Literal["composed", "clean", "all_names", "imagenet", "probed"]
"""What is named. Drawings: one composed object, or a cut-out over plain grey. Photographs: among
the names of all sets, among ImageNet's, or among the names that a probe was trained on."""

Accuracy = dict[Kind, TopK]


class Teachers(Record):
    """Both teachers beside the student that was merged of them (paper, table 1).

    There is no `sam_teacher` where its weights were not kept.
    """

    clip_teacher: Accuracy
    sam_teacher: PromptIou | None
    student_accuracy: Accuracy
    student_prompts: PromptIou


class Everything(Record):
    """SAM's everything-mode: a grid of points, three masks each, filtered.

    A mask stays whose predicted IoU and stability reach the thresholds, which are SAM's own unless
    a small SAM, whose masks rarely reach them, has others. Its stability is the area
    above a logit of `stability_offset` over that above its negative. Of masks whose boxes overlap
    by more than `nms_iou` the one with the highest predicted IoU stays.
    """

    points_per_side: int = Field(default=16, gt=0)
    predicted_iou: float = 0.88
    stability: float = 0.95
    stability_offset: float = 1.0
    nms_iou: float = 0.7


class Method(Record):
    """One way from text to masks: how good, and how dear, on average over the scenes.

    `sam_passes` counts runs of the backbone, the student's or the SAM teacher's, `clip_passes`
    those of the CLIP teacher's image tower.
    """

    figures: TextToMask
    sam_passes: float
    clip_passes: float
    milliseconds: float


class TextToMasks(Record):
    """One model with two heads, and two models in a row (tables 2, 5 and 7).

    The two thresholds of `everything` are the best on `tuning_scenes` pictures that are not
    measured.
    """

    everything: Everything
    tuning_scenes: int
    methods: tuple[Method, ...]


class Probe(Record):
    """Linear probes on one frozen backbone (tables 3 and 4, figure 4).

    `l2` of each probe is the best on pictures that it was not trained on and that are not measured.
    `grid` is the side of the backbone's feature map in segmentation, `miou` over nouns and
    background, which is all that is none of the nouns.
    """

    backbone: Literal["sam_teacher", "clip_teacher", "student"]
    classification_px: int
    classification_width: int
    classification_l2: float
    accuracy: Accuracy
    segmentation_px: int
    segmentation_width: int
    segmentation_l2: float
    grid: int
    miou: Share
    background_iou: Share


class Probing(Record):
    """All three backbones, each with probes of its own trained on as many pictures and scenes."""

    train_pictures: int
    train_scenes: int
    probes: tuple[Probe, ...]


class AtResolution(Record):
    """The student after a stage, seeing pictures at one resolution."""

    stage: str
    resolution_px: int
    accuracy: Accuracy


class Resolutions(Record):
    """Zero-shot classification by resolution, after several stages (table 6)."""

    rows: tuple[AtResolution, ...]


class TradeOff(Record):
    """What one set of weights knows of CLIP's skill, and of SAM's."""

    accuracy: Accuracy
    prompts: PromptIou


class AtAlpha(TradeOff):
    """Weights `alpha` of the way from SAM's encoder to one that CLIP alone made."""

    alpha: Share


class WiseFt(Record):
    """Interpolated weights, and the joint model beside them (appendix D, figure 8).

    `training` is the settings of the distillation from CLIP alone. Both go on from stage 1, the
    joint model for `joint_steps`. Both are null where the CLIP teacher has an encoder of the same
    kind as SAM's, which no training need make.
    """

    training: dict[str, JsonValue] | None = None
    points: tuple[AtAlpha, ...]
    joint: TradeOff
    joint_steps: int | None = None


class AtLambda(TradeOff):
    """A short joint distillation with SAM's loss weighed by lambda."""

    sam_weight: float


class Lambdas(Record):
    """Joint distillations that differ in lambda alone; `training` is what they share."""

    training: dict[str, JsonValue]
    rows: tuple[AtLambda, ...]


class Part(Run, Generic[Figures]):
    """How a part was measured: `weights` holds the first 16 digits of the sha256 of each."""

    settings: PaperSettings | PhotographSettings
    weights: dict[str, str]
    figures: Figures


class Results(Record):
    """The whole of a record of these; a part that was not measured yet is null."""

    teachers: Part[Teachers] | None = None
    text_to_mask: Part[TextToMasks] | None = None
    probing: Part[Probing] | None = None
    resolutions: Part[Resolutions] | None = None
    wise_ft: Part[WiseFt] | None = None
    lambdas: Part[Lambdas] | None = None


def store_part(path: Path, name: str, part: Run) -> Results:
    """Puts a part into the record, in place of an older one; the others stay as they are."""
    # Read again at the end of each part: another run may have stored one meanwhile.
    before = read_record(Results, path) if path.exists() else Results()
    results = Results.model_validate({**dict(before), name: part})
    write_record(results, path)
    return results
