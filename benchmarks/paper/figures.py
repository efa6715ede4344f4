"""The figures of results.json, as PNG: ours alone, the paper's numbers are in the tables."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.paper.record import (
    LambdasPart,
    ProbingPart,
    ResolutionsPart,
    Results,
    TextToMaskPart,
    WiseFtPart,
)
from benchmarks.paper.report import BACKBONES, METHODS

_BLUE, _ORANGE, _GREY = "#2a6fb0", "#d9822b", "#8a8f98"
_DPI = 120


def draw_figures(results: Results) -> dict[str, bytes]:
    """Draws a figure for each part that has one and was measured: part -> PNG."""
    return {name: _encode(draw) for name, draw in _drawings(results)}


def _drawings(results: Results) -> Iterator[tuple[str, Callable[[Figure], None]]]:
    if (texts := results.text_to_mask) is not None:
        yield "text_to_mask", lambda figure: _text_to_mask(figure, texts)
    if (probing := results.probing) is not None:
        yield "probing", lambda figure: _probing(figure, probing)
    if (resolutions := results.resolutions) is not None:
        yield "resolutions", lambda figure: _resolutions(figure, resolutions)
    if (wise_ft := results.wise_ft) is not None:
        yield "wise_ft", lambda figure: _wise_ft(figure, wise_ft)
    if (lambdas := results.lambdas) is not None:
        yield "lambdas", lambda figure: _lambdas(figure, lambdas)


def _encode(draw: Callable[[Figure], None]) -> bytes:
    # Not pyplot: a figure of its own draws with Agg, and leaves no global state.
    figure = Figure(figsize=(8, 3.6), layout="constrained")
    draw(figure)
    buffer = io.BytesIO()
    # Without the version of matplotlib, the same numbers give the same file.
    figure.savefig(buffer, format="png", dpi=_DPI, metadata={"Software": None})
    return buffer.getvalue()


def _text_to_mask(figure: Figure, part: TextToMaskPart) -> None:
    quality, cost = figure.subplots(1, 2, sharey=True)
    found = {method.figures.heads: method for method in part.figures.methods}
    names = [name for name in METHODS if name in found][::-1]
    words = [METHODS[name] for name in names]
    quality.barh(words, [100 * found[name].figures.miou for name in names], color=_BLUE)
    quality.set_xlabel("mIoU, %")
    passes = [found[name].sam_passes + found[name].clip_passes for name in names]
    cost.barh(words, passes, color=_GREY)
    cost.set_xlabel("backbone passes a scene")
    for axes in (quality, cost):
        _bare(axes)


def _probing(figure: Figure, part: ProbingPart) -> None:
    probes = part.figures.probes
    words = [BACKBONES[probe.backbone] for probe in probes]
    classification, segmentation = figure.subplots(1, 2)
    classification.bar(words, [100 * probe.accuracy.composed_top1 for probe in probes], color=_BLUE)
    classification.set_ylabel("linear probe, top-1, %")
    segmentation.bar(words, [100 * probe.miou for probe in probes], color=_ORANGE)
    segmentation.set_ylabel("linear probe, mIoU, %")
    for axes in (classification, segmentation):
        _bare(axes)


def _resolutions(figure: Figure, part: ResolutionsPart) -> None:
    axes = figure.subplots()
    rows = part.figures.rows
    for stage, colour in (("stage2", _GREY), ("stage3", _BLUE)):
        own = [row for row in rows if row.stage == stage]
        sizes = [row.resolution_px for row in own]
        shares = [100 * row.accuracy.composed_top1 for row in own]
        axes.plot(sizes, shares, marker="o", color=colour, label=f"after {stage}")
    axes.set_xlabel("input resolution, px")
    axes.set_ylabel("zero-shot top-1, %")
    axes.set_xticks(sorted({row.resolution_px for row in rows}))
    axes.legend(frameon=False)
    _bare(axes)


def _wise_ft(figure: Figure, part: WiseFtPart) -> None:
    top1, box = figure.subplots(1, 2)
    points, joint = part.figures.points, part.figures.joint
    alphas = [point.alpha for point in points]
    accuracies = [100 * point.skills.accuracy.composed_top1 for point in points]
    ious = [100 * point.skills.prompts.box for point in points]
    for axes, values, together, words in (
        (top1, accuracies, 100 * joint.accuracy.composed_top1, "zero-shot top-1, %"),
        (box, ious, 100 * joint.prompts.box, "box mIoU, %"),
    ):
        axes.plot(alphas, values, marker="o", color=_BLUE, label="interpolated weights")
        axes.axhline(together, color=_ORANGE, linestyle="--", label="joint model")
        axes.set_xlabel("alpha: 0 is SAM, 1 distilled from CLIP alone")
        axes.set_ylabel(words)
        _bare(axes)
    top1.legend(frameon=False)


def _lambdas(figure: Figure, part: LambdasPart) -> None:
    axes = figure.subplots()
    rows = part.figures.rows
    accuracies = [100 * row.skills.accuracy.composed_top1 for row in rows]
    ious = [100 * row.skills.prompts.box for row in rows]
    axes.plot(accuracies, ious, color=_GREY, marker="o", markerfacecolor=_BLUE)
    for row, x, y in zip(rows, accuracies, ious, strict=True):
        axes.annotate(f"λ = {row.sam_weight:g}", (x, y), textcoords="offset points", xytext=(6, 6))
    axes.set_xlabel("zero-shot top-1, %")
    axes.set_ylabel("box mIoU, %")
    axes.margins(0.2)
    _bare(axes)


def _bare(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
