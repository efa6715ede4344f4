"""quality_photographs.json as Markdown, and its curve as a chart."""

from __future__ import annotations

import io

from benchmarks.photographs.record import ALL, Estimate, Heads, PhotographQuality
from benchmarks.report import BLUE, GREY, NONE, columns, new_figure, percent, table

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
