"""The charts of paper.json, as PNG: ours alone, the paper's numbers are in the tables."""

from __future__ import annotations

from collections.abc import Iterator

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.paper.record import Lambdas, Probing, Resolutions, Results, TextToMasks, WiseFt
from benchmarks.paper.report import BACKBONES, METHODS
from benchmarks.report import BLUE, GREY, ORANGE, encode_figure, new_figure

_TOP1, _BOX = "zero-shot top-1, %", "box mIoU, %"


def draw_charts(results: Results) -> dict[str, bytes]:
    """Draws a chart for each part that has one and was measured: part -> PNG."""
    return {name: encode_figure(figure) for name, figure in _figures(results)}


def _figures(results: Results) -> Iterator[tuple[str, Figure]]:
    if results.text_to_mask is not None:
        yield "text_to_mask", _text_to_mask(results.text_to_mask.figures)
    if results.probing is not None:
        yield "probing", _probing(results.probing.figures)
    if results.resolutions is not None:
        yield "resolutions", _resolutions(results.resolutions.figures)
    if results.wise_ft is not None:
        yield "wise_ft", _wise_ft(results.wise_ft.figures)
    if results.lambdas is not None:
        yield "lambdas", _lambdas(results.lambdas.figures)


def _sheet(panels: int, *, share_y: bool = False) -> tuple[Figure, list[Axes]]:
    figure = new_figure(8, 3.6)
    return figure, list(figure.subplots(1, panels, sharey=share_y, squeeze=False)[0])


def _text_to_mask(part: TextToMasks) -> Figure:
    figure, (quality, cost) = _sheet(2, share_y=True)
    found = {method.figures.heads: method for method in part.methods}
    names = [name for name in METHODS if name in found][::-1]
    words = [METHODS[name] for name in names]
    quality.barh(words, [100 * found[name].figures.miou for name in names], color=BLUE)
    quality.set_xlabel("mIoU, %")
    passes = [found[name].sam_passes + found[name].clip_passes for name in names]
    cost.barh(words, passes, color=GREY)
    cost.set_xlabel("backbone passes a scene")
    return figure


def _probing(part: Probing) -> Figure:
    figure, (classification, segmentation) = _sheet(2)
    words = [BACKBONES[probe.backbone] for probe in part.probes]
    top1 = [100 * probe.accuracy.composed_top1 for probe in part.probes]
    classification.bar(words, top1, color=BLUE)
    classification.set_ylabel("linear probe, top-1, %")
    segmentation.bar(words, [100 * probe.miou for probe in part.probes], color=ORANGE)
    segmentation.set_ylabel("linear probe, mIoU, %")
    return figure


def _resolutions(part: Resolutions) -> Figure:
    figure, (axes,) = _sheet(1)
    for stage, colour in (("stage2", GREY), ("stage3", BLUE)):
        own = [row for row in part.rows if row.stage == stage]
        sizes = [row.resolution_px for row in own]
        shares = [100 * row.accuracy.composed_top1 for row in own]
        axes.plot(sizes, shares, marker="o", color=colour, label=f"after {stage}")
    axes.set_xlabel("input resolution, px")
    axes.set_ylabel(_TOP1)
    axes.set_xticks(sorted({row.resolution_px for row in part.rows}))
    axes.legend(frameon=False)
    return figure


def _wise_ft(part: WiseFt) -> Figure:
    figure, panels = _sheet(2)
    alphas = [point.alpha for point in part.points]
    top1 = [100 * each.accuracy.composed_top1 for each in (*part.points, part.joint)]
    box = [100 * each.prompts.box for each in (*part.points, part.joint)]
    for axes, (*values, together), words in zip(panels, (top1, box), (_TOP1, _BOX), strict=True):
        axes.plot(alphas, values, marker="o", color=BLUE, label="interpolated weights")
        axes.axhline(together, color=ORANGE, linestyle="--", label="joint model")
        axes.set_xlabel("alpha: 0 is SAM, 1 distilled from CLIP alone")
        axes.set_ylabel(words)
    panels[0].legend(frameon=False)
    return figure


def _lambdas(part: Lambdas) -> Figure:
    figure, (axes,) = _sheet(1)
    top1 = [100 * row.accuracy.composed_top1 for row in part.rows]
    box = [100 * row.prompts.box for row in part.rows]
    axes.plot(top1, box, color=GREY, marker="o", markerfacecolor=BLUE)
    for row, x, y in zip(part.rows, top1, box, strict=True):
        axes.annotate(f"λ = {row.sam_weight:g}", (x, y), textcoords="offset points", xytext=(6, 6))
    axes.set_xlabel(_TOP1)
    axes.set_ylabel(_BOX)
    axes.margins(0.2)
    return figure
