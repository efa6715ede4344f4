"""The curve of thresholds as a chart."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.charts import BLUE, GREY, encode_figure, new_figure
from benchmarks.table import Table


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
            place = [100 * found[name].value for name in ("false", "found")]
            axes.plot(*place, color=colour, marker="o", markersize=9, linestyle="none")
    axes.set_xlabel("absent labels that get a mask, %")
    axes.set_ylabel("present labels found, %")
    axes.legend(frameon=False)
    return encode_figure(figure, form="svg")
