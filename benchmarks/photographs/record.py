"""The record of the quality on photographs, its tables, and its curve as a chart."""

from __future__ import annotations

import io
from typing import Literal

from pydantic import Field

from benchmarks.record import Model, Record, Run, Share
from benchmarks.report import BLUE, GREY, NONE, columns, new_figure, percent, table

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


HEADS: dict[Heads, str] = {
    "clip_head": "CLIP head alone",
    "both_heads": "both heads",
    "two_models": "SAM and CLIP in a row",
    "two_models_or_nothing": "SAM and CLIP, with names for nothing",
}
TAUGHT = {
    "all": "all",
    "seen": "seen",
    "classes": "held out, an ImageNet class",
    "near": "held out, near",
    "far": "held out, far",
}
_OVER = {"objects": "mean over objects", "sets": "mean over sets"}
_CURVE_ROWS = 5  # points of the curve between two rows of its table


def render(record: PhotographQuality) -> dict[str, str]:
    """Name -> table, of every part that was measured; under the last one, how it was made."""
    parts = {
        "text_to_mask": _text_to_mask(record, all_pictures=True),
        "text_to_mask_by_set": _text_to_mask(record, all_pictures=False),
        "curve": _curve(record),
        "prompts": _prompts(record),
        "names": _names(record),
        "presence": _presence(record),
    }
    found = {name: text for name, text in parts.items() if text}
    return found | {"made": _footnote(record)}


def render_summary(record: PhotographQuality) -> str:
    """The figures over all pictures, in one table, and how it was made."""
    rows = [
        [f"{what}, {HEADS[row.heads]}", with_interval(value)]
        for row in record.text_to_mask
        if row.of == ALL
        for what, value in (
            ("text-to-mask: mIoU", row.miou),
            ("text-to-mask: present labels found", row.found),
            ("text-to-mask: absent labels that get a mask", row.false),
        )
    ]
    rows += [
        [f"mIoU of {prompt}, {_OVER[row.over]}", with_interval(value)]
        for row in record.prompts
        if row.of == ALL
        for prompt, value in (("a box", row.box), ("one point", row.point))
    ]
    rows += [
        [f"top-1 of {row.names} ({row.labels})", with_interval(row.top1)]
        for row in record.top_k
        if row.taught == ALL
    ]
    rows += [
        ["presence, area under the curve", with_interval(row.auc)]
        for row in record.presence
        if row.taught == ALL
    ]
    return f"{table(('', '%'), rows)}\n\n{_footnote(record)}\n"


def render_taught(record: PhotographQuality) -> str:
    """Names and presence by how names were taught, and how it was made."""
    return f"{_names(record)}\n\n{_presence(record)}\n\n{_footnote(record)}\n"


def draw_curve(record: PhotographQuality) -> bytes:
    """Present labels found against absent ones that get a mask, over thresholds: an SVG file.

    Raises:
        ModuleNotFoundError: matplotlib is not installed.
    """
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
    axes.spines[["top", "right"]].set_visible(False)
    buffer = io.BytesIO()
    # Only here: matplotlib is for charts alone. Without date, version and random names, the same
    # numbers give the same file.
    from matplotlib import rc_context

    with rc_context({"svg.hashsalt": "samclip"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def with_interval(estimate: Estimate | None) -> str:
    """A share in percent, and its interval."""
    if estimate is None:
        return NONE
    low, high = percent(estimate.low), percent(estimate.high)
    return f"{percent(estimate.value)} ({low} to {high})"


def _text_to_mask(record: PhotographQuality, *, all_pictures: bool) -> str:
    rows = [row for row in record.text_to_mask if (row.of == ALL) == all_pictures]
    first = {} if all_pictures else {"set": lambda row: f"`{row.of}`"}
    return rows and columns(
        rows,
        {
            **first,
            "heads": lambda row: HEADS[row.heads],
            "pictures": lambda row: str(row.pictures),
            "present / absent": lambda row: f"{row.present} / {row.absent}",
            "mIoU, %": lambda row: with_interval(row.miou),
            "mIoU of present, %": lambda row: with_interval(row.miou_present),
            "found, %": lambda row: with_interval(row.found),
            "false, %": lambda row: with_interval(row.false),
        },
        words=1 + len(first),
    )


def _curve(record: PhotographQuality) -> str:
    points = record.curves.get("both_heads", ())
    return points and columns(
        points[::_CURVE_ROWS],
        {
            "threshold": lambda point: f"{point.threshold:.4f}",
            "found, %": lambda point: percent(point.found),
            "false, %": lambda point: percent(point.false),
            "mIoU, %": lambda point: percent(point.miou),
            "mIoU of present, %": lambda point: percent(point.miou_present),
        },
        words=0,
    )


def _prompts(record: PhotographQuality) -> str:
    return record.prompts and columns(
        record.prompts,
        {
            "objects of": lambda row: row.of,
            "mean over": lambda row: row.over,
            "objects": lambda row: str(row.objects),
            "box, mIoU %": lambda row: with_interval(row.box),
            "point, mIoU %": lambda row: with_interval(row.point),
        },
        words=2,
    )


def _names(record: PhotographQuality) -> str:
    return record.top_k and columns(
        record.top_k,
        {
            "among": lambda row: row.names,
            "right names": lambda row: TAUGHT[row.taught],
            "pictures": lambda row: str(row.pictures),
            "names": lambda row: str(row.labels),
            "top-1, %": lambda row: with_interval(row.top1),
            "top-5, %": lambda row: with_interval(row.top5),
        },
        words=2,
    )


def _presence(record: PhotographQuality) -> str:
    return record.presence and columns(
        record.presence,
        {
            "names": lambda row: TAUGHT[row.taught],
            "number": lambda row: str(row.names),
            "present / absent": lambda row: f"{row.present} / {row.absent}",
            "AUC, %": lambda row: with_interval(row.auc),
        },
        words=1,
    )


def _footnote(record: PhotographQuality) -> str:
    model, environment, settings = record.model, record.environment, record.settings
    random = ", random weights" if model.random_weights else ""
    limit = f", {settings.limit} pictures a part at most" if settings.limit else ""
    broken = "".join(f", {kind} broken: {count}" for kind, count in sorted(record.broken.items()))
    return (
        f"`{model.name}` {model.revision}{random} on {model.runtime}; {len(settings.sets)} sets, "
        f"of which {len(settings.complete)} label everything{limit}{broken}; in brackets, 95 % of "
        f"{settings.resamples} resamples of the pictures, seed {settings.seed}; {environment.cpu}, "
        f"{environment.date[:10]}. Measured by `{environment.command}`."
    )
