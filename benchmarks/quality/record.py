"""The record of the quality on drawings: what was asked, and every figure."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import Field

from benchmarks.record import Model, Record, Run, Share

# The splits: new drawings of taught nouns, a style never trained on, nouns never taught.
HELDOUT: Final = "heldout_instance"
OPENMOJI: Final = "openmoji"
UNSEEN: Final = "unseen_concept"


class Settings(Record):
    """What was asked of a run; with the corpus and the seed it fixes every picture.

    `nouns` is the number of nouns that the model was taught, `pictures` and `scenes` how many
    composed single-object pictures and scenes each split gives, `size_px` the side of all of them.
    """

    nouns: int = Field(gt=1)
    pictures: int = Field(gt=0)
    scenes: int = Field(gt=0)
    size_px: int = Field(default=256, gt=0)
    seed: int = Field(default=0, ge=0)


class TopK(Record):
    """Classification. `labels` is how many were told apart, `who` is what was measured.

    The floor is no model: it has the nearest training cut-out, by HOG and colour.
    """

    who: Literal["model", "clip_teacher", "floor"]
    split: str
    picture: Literal["clean", "composed"]
    labels: int
    pictures: int
    top1: Share
    top5: Share


class PromptIou(Record):
    """Mean IoU over objects, of one box and of one point each.

    `box` and `point` are of the single mask (decoder token 0), `box_best` and `point_best` of the
    one of three masks whose IoU the model predicts to be highest.
    """

    who: Literal["model", "sam_teacher"]
    split: str
    objects: int
    box: Share
    box_best: Share
    point: Share
    point_best: Share


class TextToMask(Record):
    """Text-to-mask, over `present` labels in the scenes and `absent` ones asked beside them.

    `miou` counts an absent label that got a mask as one more IoU of 0. `recall` is the share of
    the present labels that got a mask, `iou_found` the mean IoU of those, and the false-positive
    rate the share of absent labels that got one: of all, and of the nearest to a present label.
    Beside the heads of one model, `two_models` are SAM for the masks and CLIP for their names,
    among the labels alone or among these and names for nothing. A share of nothing is null.
    """

    heads: Literal["clip_head", "both_heads", "two_models", "two_models_or_nothing"]
    split: str
    scenes: int
    present: int
    absent: int
    miou: Share
    recall: Share
    iou_found: Share | None
    false_positive_rate: Share | None
    nearest_false_positive_rate: Share | None


class Quality(Run):
    """The whole of quality.json."""

    model: Model
    settings: Settings
    top_k: tuple[TopK, ...]
    prompts: tuple[PromptIou, ...]
    text_to_mask: tuple[TextToMask, ...]
