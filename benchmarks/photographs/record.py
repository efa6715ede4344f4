"""The record of the quality on photographs: what was asked, and every figure with its interval."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from benchmarks.record import Model, Record, Run, Share

Heads = Literal["clip_head", "both_heads", "two_models", "two_models_or_nothing"]
Taught = Literal["seen", "classes", "near", "far"]
"""How a name was taught. `classes` are held out of photographs, but name one of ImageNet's classes,
which a pretrained backbone may know; `near` are siblings or kinds of a taught noun in WordNet."""

ALL = "all"


class Estimate(Record):
    """A figure, and between which values 95 % of its bootstrap resamples of pictures lie."""

    value: Share
    low: Share
    high: Share


class PhotographSettings(Record):
    """What was asked of a run.

    `sets` are those with pictures in the split "val"; `complete`, those of them that label
    everything; `limit`, the most pictures of each part. `held_out` is the number of held-out nouns,
    null where nobody said which.
    """

    sets: tuple[str, ...]
    complete: tuple[str, ...]
    limit: int | None
    held_out: int | None
    resamples: int = Field(default=1000, gt=0)
    seed: int = Field(default=0, ge=0)


class TextToMask(Record):
    """Text-to-mask over `present` labels and the `absent` ones asked beside them; of `of`, a set.

    `miou` counts an absent label that got a mask as one more IoU of 0, `miou_present` is the plain
    mean over present labels. `found` is the share of the present labels that got a mask, `false`
    that of the absent ones. Labels are pooled over pictures. All at the model's own thresholds.
    """

    heads: Heads
    of: str
    pictures: int
    present: int
    absent: int
    miou: Estimate
    miou_present: Estimate
    found: Estimate
    false: Estimate | None


class CurvePoint(Record):
    """What one presence threshold would give, over all pictures; as of `TextToMask`."""

    threshold: Share
    found: Share
    false: Share
    miou: Share
    miou_present: Share


class PromptIou(Record):
    """Mean IoU of the single mask of one tight box, and of one innermost point, for each object.

    `of` is `all`, a size ("below 2 %" and so on, of the picture) or a set. With `over` "sets" it is
    the mean over the sets of each one's mean.
    """

    of: str
    over: Literal["objects", "sets"]
    objects: int
    box: Estimate
    point: Estimate


class TopK(Record):
    """Zero-shot naming: whether a right name is the first of `labels` names, or of the first five.

    `names` is what was told apart. Of a picture's right names, those that were taught another way
    than `taught` says are neither right nor wrong.
    """

    names: Literal["all names", "ImageNet's classes", "the folder's classes"]
    taught: Taught | Literal["all"]
    pictures: int
    labels: int
    top1: Estimate
    top5: Estimate


class PresenceAuc(Record):
    """How well presence tells pictures that show a name from those that do not.

    The area under the curve, pooled over `present` and `absent` pairs of a picture and one of
    `names` names.
    """

    taught: Taught | Literal["all"]
    names: int
    present: int
    absent: int
    auc: Estimate


class PhotographFigures(Record):
    """What was found. A part that the sets cannot answer is empty; `broken` counts by kind."""

    text_to_mask: tuple[TextToMask, ...]
    curves: dict[Heads, tuple[CurvePoint, ...]]
    prompts: tuple[PromptIou, ...]
    top_k: tuple[TopK, ...]
    presence: tuple[PresenceAuc, ...]
    broken: dict[str, int]


class PhotographQuality(Run, PhotographFigures):
    """The whole of quality_photographs.json."""

    model: Model
    settings: PhotographSettings
