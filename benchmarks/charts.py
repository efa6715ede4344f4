"""Charts of figures, the same bytes for the same figures."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING

from benchmarks.figures import digits
from benchmarks.paper.words import BACKBONES, METHODS, SUITE, names_of, part_of
from benchmarks.speed.subject import WORKLOADS
from benchmarks.table import Part, Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, ORANGE, GREY = "#2a6fb0", "#d9822b", "#8a8f98"


def new_figure(width: float, height: float) -> Figure:
    """A chart's sheet, in inches."""
    # Only here: matplotlib is for charts alone. Not pyplot, which has a global state.
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def encode_figure(figure: Figure, *, file_format: str = "png") -> bytes:
    """The chart as "png" or "svg"; all its axes lose their upper and right lines."""
    from matplotlib import rc_context

    axes: Axes
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
    buffer = io.BytesIO()
    # Without date, version and random names, the same numbers give the same file.
    metadata = {"png": {"Software": None}, "svg": {"Date": None, "Creator": None}}[file_format]
    dpi = 120 if file_format == "png" else "figure"
    with rc_context({"svg.hashsalt": "samclip"}):
        figure.savefig(buffer, format=file_format, dpi=dpi, metadata=metadata)
    return buffer.getvalue()


def draw_chart(part: Part) -> bytes:
    """Draws the medians; the baseline is grey, and a skill that a subject lacks has no bar."""
    times = {name: part.by_subject(name) for name in WORKLOADS}
    shown = [name for name in WORKLOADS if times[name]]
    subjects = [key for key in part.subjects if any(key in times[name] for name in shown)][::-1]
    figure = new_figure(2.4 * len(shown) + 2, 0.5 * len(subjects) + 1.2)
    panels = figure.subplots(1, len(shown), sharey=True, squeeze=False)[0]
    for axes, name in zip(panels, shown, strict=True):
        baseline, found = part.run.settings.get("baseline"), times[name]
        drawn = axes.barh(
            subjects,
            [found.get(key, 0.0) for key in subjects],
            color=[GREY if key == baseline else BLUE for key in subjects],
        )
        labels = [digits(found[key]) if key in found else "" for key in subjects]
        axes.bar_label(drawn, labels=labels, padding=2, fontsize="small")
        axes.set_xlabel(f"{name}, ms")
        axes.margins(x=0.25)
    return encode_figure(figure)


def draw_growth(read: Callable[[str], Table]) -> bytes:
    """A panel for each axis, both of its scales logarithmic."""
    part = read("growth").parts[-1]
    figure = new_figure(2.6 * len(part.subjects), 2.6)
    panels = figure.subplots(1, len(part.subjects), squeeze=False)[0]
    for axes, axis in zip(panels, part.subjects, strict=True):
        sizes = part.splits(axis, "ms")
        found = [part.metrics(axis, size)["ms"].value for size in sizes]
        axes.loglog([float(size) for size in sizes], found, color=BLUE, marker=".")
        axes.set_xlabel(axis)
        axes.set_ylim(bottom=1)
    figure.axes[0].set_ylabel("ms")
    return encode_figure(figure)


def draw_hours(read: Callable[[str], Table]) -> bytes:
    """Each overlap on everyday scenes, a step for each model that was published."""
    part = read("hours").parts[-1]
    figure = new_figure(7, 3.2)
    axes = figure.subplots()
    for subject, colour in zip(part.subjects, (BLUE, ORANGE, GREY), strict=True):
        splits = part.splits(subject, "iou")
        found = [part.metrics(subject, split)["iou"] for split in splits]
        ious = [100 * each.value for each in found]
        axes.plot(splits, ious, color=colour, marker=".", label=subject.replace("_", " "))
    axes.set_ylabel("IoU, %")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, loc="lower right")
    return encode_figure(figure)


def draw_curve(read: Callable[[str], Table]) -> bytes:
    """Present labels found against absent ones that get a mask, over thresholds: an SVG file."""
    part = read("quality_photographs").parts[-1]
    figure = new_figure(5, 4)
    axes = figure.subplots()
    for way, words, colour in (
        ("clip_head", "CLIP head alone", GREY),
        ("both_heads", "both heads", BLUE),
    ):
        own = [part.metrics(f"curve: {way}", split) for split in part.splits(f"curve: {way}")]
        shares = ([100 * each[name].value for each in own] for name in ("false", "found"))
        axes.plot(*shares, color=colour, marker=".", label=words)
        found = part.metrics(way, "all")
        if "false" in found:
            position = [100 * found[name].value for name in ("false", "found")]
            axes.plot(*position, color=colour, marker="o", markersize=9, linestyle="none")
    axes.set_xlabel("absent labels that get a mask, %")
    axes.set_ylabel("present labels found, %")
    axes.legend(frameon=False)
    return encode_figure(figure, file_format="svg")


def _draw_text_to_mask(read: Callable[[str], Table]) -> bytes:
    part = part_of(read(SUITE), "text_to_mask")
    figure = new_figure(8, 3.6)
    quality, cost = figure.subplots(1, 2, sharey=True)
    names = [name for name in METHODS if name in part.subjects][::-1]
    figures = [part.metrics(name, part.splits(name, "clip_passes")[0]) for name in names]
    words = [METHODS[name] for name in names]
    quality.barh(words, [100 * each["miou"].value for each in figures], color=BLUE)
    quality.set_xlabel("mIoU, %")
    cost.barh(words, [1 + each["clip_passes"].value for each in figures], color=GREY)
    cost.set_xlabel("backbone passes an image")
    return encode_figure(figure)


def _draw_probing(read: Callable[[str], Table]) -> bytes:
    part = part_of(read(SUITE), "probing")
    figure = new_figure(8, 3.6)
    names, masks = figure.subplots(1, 2)
    subjects = {f"probing: {name}": words for name, words in BACKBONES.items()}
    there = {subject: words for subject, words in subjects.items() if subject in part.subjects}
    named = [next(iter(names_of(part, subject).values())) for subject in there]
    names.bar([*there.values()], [100 * each["top1"].value for each in named], color=BLUE)
    names.set_ylabel("linear probe, top-1, %")
    mious = [100 * part.metrics(subject)["miou"].value for subject in there]
    masks.bar([*there.values()], mious, color=ORANGE)
    masks.set_ylabel("linear probe, mIoU, %")
    return encode_figure(figure)


CHARTS: dict[str, Callable[[Callable[[str], Table]], bytes]] = {
    "speed.png": lambda read: draw_chart(read("speed").parts[-1]),
    "speed_vit_b.png": lambda read: draw_chart(read("speed_vit_b").parts[-1]),
    "growth.png": draw_growth,
    "hours.png": draw_hours,
    "quality_photographs.svg": draw_curve,
    "photographs_text_to_mask.png": _draw_text_to_mask,
    "photographs_probing.png": _draw_probing,
}
"""File -> what draws it, of the tables that it reads by name."""
