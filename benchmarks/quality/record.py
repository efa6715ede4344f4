"""The record of the quality on drawings: what was asked, and every figure; and its table.

The one table of the README and of the model card.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Literal

from pydantic import Field

from benchmarks.record import Model, Record, Run, Share
from benchmarks.report import NONE, table

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


class Figures(Record):
    """What was found, row by row."""

    top_k: tuple[TopK, ...]
    prompts: tuple[PromptIou, ...]
    text_to_mask: tuple[TextToMask, ...]


class Quality(Run, Figures):
    """The whole of quality.json."""

    model: Model
    settings: Settings


_HEADINGS = {
    HELDOUT: "New drawings of taught nouns",
    OPENMOJI: "A new drawing style (OpenMoji)",
    UNSEEN: "Nouns never taught",
}
_PICTURES = {"clean": "cut-outs over plain grey", "composed": "one object, composed"}
_WHO = {"model": "", "floor": "floor without learning: ", "clip_teacher": "CLIP teacher: "}
_PROMPTS = {
    "box": "mIoU, box prompt",
    "point": "mIoU, one point",
    "point_best": "mIoU, one point, best of three masks",
}
_IOUS = {"miou": " mIoU", "iou_found": ": IoU of the present labels found"}
_SHARES = {
    "recall": ": present labels found",
    "false_positive_rate": ": absent labels that got a mask",
    "nearest_false_positive_rate": ": the same, the nearest absent label",
}

HEADS = {"clip_head": "CLIP head alone", "both_heads": "both heads"}
"""Heads of one model in words."""


def render(quality: Quality) -> str:
    """The table, and under it how it was made."""
    splits = [split for split in _HEADINGS if any(row.split == split for row in quality.prompts)]
    rows = [
        [name, *(cells.get(split, NONE) for split in splits)]
        for name, cells in _rows(quality)
        if cells
    ]
    heads = ["", *(_HEADINGS[split] for split in splits)]
    return f"{table(heads, rows)}\n\n{_footnote(quality)}\n"


def _rows(quality: Quality) -> Iterator[tuple[str, dict[str, str]]]:
    """Name, and the cell of each split that has one."""
    for picture, words in _PICTURES.items():
        for who, prefix in _WHO.items():
            cells: dict[str, list[str]] = {}
            for row in quality.top_k:
                if (row.who, row.picture) == (who, picture):
                    shares = f"{row.top1:.1%} / {row.top5:.1%} of {row.labels}"
                    cells.setdefault(row.split, []).append(shares)
            found = {split: "; ".join(each) for split, each in cells.items()}
            yield f"{prefix}top-1 / top-5, {words}", found
    for who, prefix in (("model", ""), ("sam_teacher", "SAM teacher: ")):
        ious = {row.split: row for row in quality.prompts if row.who == who}
        for name, words in _PROMPTS.items():
            yield prefix + words, {s: f"{getattr(row, name):.3f}" for s, row in ious.items()}
    pairs = [(name, heads) for name in _IOUS for heads in HEADS]
    for name, heads in (*pairs, *((name, "both_heads") for name in _SHARES)):
        values = {
            row.split: getattr(row, name) for row in quality.text_to_mask if row.heads == heads
        }
        shown = {split: f"{value:.3f}" for split, value in values.items() if value is not None}
        yield f"text-to-mask{(_IOUS | _SHARES)[name]}, {HEADS[heads]}", shown


def _footnote(quality: Quality) -> str:
    environment, settings = quality.environment, quality.settings
    return (
        f"{quality.model.text} on {quality.model.runtime}, {settings.nouns} nouns taught; "
        f"{settings.pictures} composed pictures and {settings.scenes} scenes a split, "
        f"{settings.size_px} px, seed {settings.seed}; {environment.cpu}, {environment.day}. "
        "Text-to-mask asks each scene for its own labels and five absent ones, among them the "
        "nearest by text embedding; an absent label that gets a mask counts as an IoU of 0. The "
        "floor is the nearest training cut-out by HOG and colour. Measured by "
        f"`{environment.command}`."
    )
