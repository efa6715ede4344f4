"""The record of the quality on photographs, its tables, and its curve as a chart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from benchmarks.record import Model, Record, Run, Share
from benchmarks.report import (
    BLUE,
    GREY,
    NONE,
    columns,
    encode_figure,
    new_figure,
    percent,
    table,
)

Heads = Literal[
    "clip_head", "both_heads", "drawn_points", "one_graph", "two_models", "two_models_or_nothing"
]
Taught = Literal["seen", "classes", "near", "far"]
"""How a name was taught. `classes` are held out of photographs, but name one of ImageNet's classes,
which a pretrained backbone may know; `near` are siblings or kinds of a taught noun in WordNet."""

ALL = "all"


Correlation = Annotated[float, Field(ge=-1, le=1)]


class Estimate(Record):
    """A figure, and between which values 95 % of its bootstrap resamples of pictures lie.

    It is a share; of a correlation alone it may be below 0.
    """

    value: Correlation
    low: Correlation
    high: Correlation


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


HEADS: dict[Heads, str] = {
    "clip_head": "CLIP head alone",
    "both_heads": "both heads",
    "drawn_points": "both heads, three points drawn at random",
    "one_graph": "both heads, `text_to_mask@S`",
    "two_models": "SAM and CLIP in a row",
    "two_models_or_nothing": "SAM and CLIP, with names for nothing",
}
_TAUGHT = {
    "all": "all",
    "seen": "seen",
    "classes": "held out, an ImageNet class",
    "near": "held out, near",
    "far": "held out, far",
}
_OVER = {"objects": "mean over objects", "sets": "mean over sets"}
_CURVE_ROWS = 5  # points of the curve between two rows of its table


def with_interval(estimate: Estimate | None) -> str:
    """A share in percent, and its interval."""
    if estimate is None:
        return NONE
    low, high = percent(estimate.low), percent(estimate.high)
    return f"{percent(estimate.value)} ({low} to {high})"


def _figure(field: str) -> Callable[[Any], str]:
    """A cell with a field of a row: an estimate, a number or a word."""

    def cell(row: Any) -> str:
        value = getattr(row, field)
        if value is None or isinstance(value, Estimate):
            return with_interval(value)
        return percent(value) if isinstance(value, float) else str(value)

    return cell


_TEXT_TO_MASK = {
    "heads": lambda row: HEADS[row.heads],
    "pictures": _figure("pictures"),
    "present / absent": lambda row: f"{row.present} / {row.absent}",
    "mIoU, %": _figure("miou"),
    "mIoU of present, %": _figure("miou_present"),
    "found, %": _figure("found"),
    "false, %": _figure("false"),
}
_BY_SET = {"set": lambda row: f"`{row.of}`", **_TEXT_TO_MASK}
_CURVE = {
    "threshold": lambda point: f"{point.threshold:.4f}",
    "found, %": _figure("found"),
    "false, %": _figure("false"),
    "mIoU, %": _figure("miou"),
    "mIoU of present, %": _figure("miou_present"),
}
_PROMPTS = {
    "objects of": _figure("of"),
    "mean over": _figure("over"),
    "objects": _figure("objects"),
    "box, mIoU %": _figure("box"),
    "point, mIoU %": _figure("point"),
}
_NAMES = {
    "among": _figure("names"),
    "right names": lambda row: _TAUGHT[row.taught],
    "pictures": _figure("pictures"),
    "names": _figure("labels"),
    "top-1, %": _figure("top1"),
    "top-5, %": _figure("top5"),
}
_PRESENCE = {
    "names": lambda row: _TAUGHT[row.taught],
    "number": _figure("names"),
    "present / absent": lambda row: f"{row.present} / {row.absent}",
    "AUC, %": _figure("auc"),
}


def render(record: PhotographQuality) -> dict[str, str]:
    """Name -> table, of every part that was measured; under the last one, how it was made."""
    texts, points = record.text_to_mask, record.curves.get("both_heads", ())
    parts: dict[str, tuple[Sequence[Any], dict[str, Callable[[Any], str]], int]] = {
        "text_to_mask": ([row for row in texts if row.of == ALL], _TEXT_TO_MASK, 1),
        "text_to_mask_by_set": ([row for row in texts if row.of != ALL], _BY_SET, 2),
        "curve": (points[::_CURVE_ROWS], _CURVE, 0),
        "prompts": (record.prompts, _PROMPTS, 2),
        "names": (record.top_k, _NAMES, 2),
        "presence": (record.presence, _PRESENCE, 1),
    }
    found = {
        name: columns(rows, cells, words=words)
        for name, (rows, cells, words) in parts.items()
        if rows
    }
    return found | {"made": _footnote(record)}


def render_summary(record: PhotographQuality) -> str:
    """The figures of what ships over all pictures, in one table, and how it was made."""
    figures: list[tuple[str, Estimate | None]] = []
    for row in record.text_to_mask:
        if row.of == ALL and row.heads != "drawn_points":
            heads = HEADS[row.heads]
            figures += [
                (f"text-to-mask: mIoU, {heads}", row.miou),
                (f"text-to-mask: present labels found, {heads}", row.found),
                (f"text-to-mask: absent labels that get a mask, {heads}", row.false),
            ]
    for row in record.prompts:
        if row.of == ALL:
            over = _OVER[row.over]
            figures += [
                (f"mIoU of a box, {over}", row.box),
                (f"mIoU of one point, {over}", row.point),
            ]
    figures += [
        (f"top-1 of {row.names} ({row.labels})", row.top1)
        for row in record.top_k
        if row.taught == ALL
    ]
    area = "presence, area under the curve"
    figures += [(area, row.auc) for row in record.presence if row.taught == ALL]
    rows = [(name, with_interval(value)) for name, value in figures]
    return f"{table(('', '%'), rows)}\n\n{_footnote(record)}\n"


def render_taught(record: PhotographQuality) -> str:
    """Names and presence by how names were taught, and how it was made."""
    tables = render(record)
    return f"{tables['names']}\n\n{tables['presence']}\n\n{tables['made']}\n"


def draw_curve(record: PhotographQuality) -> bytes:
    """Present labels found against absent ones that get a mask, over thresholds: an SVG file."""
    figure = new_figure(5, 4)
    axes = figure.subplots()
    for heads, colour in (("clip_head", GREY), ("both_heads", BLUE)):
        points = record.curves.get(heads, ())
        axes.plot(
            [100 * point.false for point in points],
            [100 * point.found for point in points],
            color=colour,
            marker=".",
            label=HEADS[heads],
        )
        for row in record.text_to_mask:
            if row.heads == heads and row.of == ALL and row.false is not None:
                place = (100 * row.false.value, 100 * row.found.value)
                axes.plot(*place, color=colour, marker="o", markersize=9, linestyle="none")
    axes.set_xlabel("absent labels that get a mask, %")
    axes.set_ylabel("present labels found, %")
    axes.legend(frameon=False)
    return encode_figure(figure, form="svg")


def _footnote(record: PhotographQuality) -> str:
    settings = record.settings
    limit = f", {settings.limit} pictures a part at most" if settings.limit else ""
    broken = "".join(f", {kind} broken: {count}" for kind, count in sorted(record.broken.items()))
    return (
        f"{record.model.text} on {record.model.runtime}; {len(settings.sets)} sets, of which "
        f"{len(settings.complete)} label everything{limit}{broken}; in brackets, 95 % of "
        f"{settings.resamples} resamples of the pictures, seed {settings.seed}; "
        f"{record.environment.cpu}, {record.environment.day}. Measured by "
        f"`{record.environment.command}`."
    )
