"""The charts of paper.json, as PNG: ours alone, the paper's numbers are in the page's text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from matplotlib.axes import Axes

from benchmarks.paper.record import Lambdas, Probing, Resolutions, Results, TextToMasks, WiseFt
from benchmarks.paper.report import BACKBONES, METHODS
from benchmarks.report import BLUE, GREY, ORANGE, encode_figure, new_figure

_TOP1, _BOX = "zero-shot top-1, %", "box mIoU, %"


def draw_charts(results: Results) -> dict[str, bytes]:
    """Draws a chart for each part that has one and was measured: part -> PNG."""
    charts: dict[str, tuple[int, Callable[[Any, Sequence[Axes]], None]]] = {
        "text_to_mask": (2, _text_to_mask),
        "probing": (2, _probing),
        "resolutions": (1, _resolutions),
        "wise_ft": (2, _wise_ft),
        "lambdas": (1, _lambdas),
    }
    found = {}
    for name, (panels, draw) in charts.items():
        if (part := getattr(results, name)) is not None:
            figure = new_figure(8, 3.6)
            share = name == "text_to_mask"
            draw(part.figures, figure.subplots(1, panels, sharey=share, squeeze=False)[0])
            found[name] = encode_figure(figure)
    return found


def _text_to_mask(part: TextToMasks, panels: Sequence[Axes]) -> None:
    quality, cost = panels
    found = {method.figures.heads: method for method in part.methods}
    names = [name for name in METHODS if name in found][::-1]
    words = [METHODS[name] for name in names]
    quality.barh(words, [100 * found[name].figures.miou for name in names], color=BLUE)
    quality.set_xlabel("mIoU, %")
    passes = [found[name].sam_passes + found[name].clip_passes for name in names]
    cost.barh(words, passes, color=GREY)
    cost.set_xlabel("backbone passes a scene")


def _probing(part: Probing, panels: Sequence[Axes]) -> None:
    words = [BACKBONES[probe.backbone] for probe in part.probes]
    top1 = [100 * probe.accuracy.composed_top1 for probe in part.probes]
    panels[0].bar(words, top1, color=BLUE)
    panels[0].set_ylabel("linear probe, top-1, %")
    panels[1].bar(words, [100 * probe.miou for probe in part.probes], color=ORANGE)
    panels[1].set_ylabel("linear probe, mIoU, %")


def _resolutions(part: Resolutions, panels: Sequence[Axes]) -> None:
    for stage, colour in (("stage2", GREY), ("stage3", BLUE)):
        own = [row for row in part.rows if row.stage == stage]
        sizes = [row.resolution_px for row in own]
        shares = [100 * row.accuracy.composed_top1 for row in own]
        panels[0].plot(sizes, shares, marker="o", color=colour, label=f"after {stage}")
    panels[0].set_xlabel("input resolution, px")
    panels[0].set_ylabel(_TOP1)
    panels[0].set_xticks(sorted({row.resolution_px for row in part.rows}))
    panels[0].legend(frameon=False)


def _wise_ft(part: WiseFt, panels: Sequence[Axes]) -> None:
    alphas, every = [point.alpha for point in part.points], (*part.points, part.joint)
    shares = {
        _TOP1: [100 * each.accuracy.composed_top1 for each in every],
        _BOX: [100 * each.prompts.box for each in every],
    }
    for axes, (words, (*values, together)) in zip(panels, shares.items(), strict=True):
        axes.plot(alphas, values, marker="o", color=BLUE, label="interpolated weights")
        axes.axhline(together, color=ORANGE, linestyle="--", label="joint model")
        axes.set_xlabel("alpha: 0 is SAM, 1 distilled from CLIP alone")
        axes.set_ylabel(words)
    panels[0].legend(frameon=False)


def _lambdas(part: Lambdas, panels: Sequence[Axes]) -> None:
    top1 = [100 * row.accuracy.composed_top1 for row in part.rows]
    box = [100 * row.prompts.box for row in part.rows]
    panels[0].plot(top1, box, color=GREY, marker="o", markerfacecolor=BLUE)
    for row, point in zip(part.rows, zip(top1, box, strict=True), strict=True):
        words = f"λ = {row.sam_weight:g}"
        panels[0].annotate(words, point, textcoords="offset points", xytext=(6, 6))
    panels[0].set_xlabel(_TOP1)
    panels[0].set_ylabel(_BOX)
    panels[0].margins(0.2)
