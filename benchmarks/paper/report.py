"""paper.json as Markdown tables and as charts.

They are of ours alone: the paper's numbers are in the page's own text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from benchmarks.paper import record
from benchmarks.report import (
    BLUE,
    GREY,
    NONE,
    ORANGE,
    by_size,
    encode_figure,
    new_figure,
    percent,
    table,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_TOP1, _BOX = "zero-shot top-1, %", "box mIoU, %"
_METHODS = {
    "two_models": "two models: SAM everything + CLIP",
    "two_models_or_nothing": "two models, with names for the background",
    "clip_head": "one model, CLIP head alone",
    "both_heads": "one model, both heads",
}
_BACKBONES = {"sam_teacher": "SAM teacher", "clip_teacher": "CLIP teacher", "student": "student"}


def render(results: record.Results) -> dict[str, str]:
    """Part -> its table and how it was made."""
    tables: dict[str, Callable[[Any], str]] = {
        "teachers": _teachers,
        "text_to_mask": _text_to_mask,
        "probing": _probing,
        "resolutions": _resolutions,
        "wise_ft": _wise_ft,
        "lambdas": _lambdas,
    }
    found = {}
    for name, draw in tables.items():
        part: record.Part[Any] | None = getattr(results, name)
        missing = "This was not measured.\n"
        found[name] = missing if part is None else f"{draw(part.figures)}\n\n{_footnote(part)}\n"
    return found


def _teachers(figures: record.Teachers) -> str:
    pairs = {
        "top-1, composed pictures": ("accuracy", "composed_top1"),
        "top-5, composed pictures": ("accuracy", "composed_top5"),
        "top-1, cut-outs over plain grey": ("accuracy", "clean_top1"),
        "top-5, cut-outs over plain grey": ("accuracy", "clean_top5"),
        "mIoU, one box": ("prompts", "box"),
        "mIoU, one point": ("prompts", "point"),
        "mIoU, one point, best of three": ("prompts", "point_best"),
    }
    rows = []
    for words, (skill, name) in pairs.items():
        whose = figures.clip_teacher if skill == "accuracy" else figures.sam_teacher
        before, after = getattr(whose, name), getattr(getattr(figures, f"student_{skill}"), name)
        kept = f"{after / before:.1%}" if before else NONE
        rows.append([words, percent(before), percent(after), kept])
    labels, objects = figures.clip_teacher.labels, figures.sam_teacher.objects
    note = f"Zero-shot, {labels} nouns; {objects} objects."
    return f"{table(('percent', 'its teacher', 'student', 'kept'), rows)}\n\n{note}"


def _text_to_mask(figures: record.TextToMasks) -> str:
    methods = {method.figures.heads: method for method in figures.methods}
    rows = []
    for name, words in _METHODS.items():
        if (method := methods.get(name)) is not None:
            own = method.figures
            shares = map(percent, (own.miou, own.recall, own.false_positive_rate))
            passes = f"{method.sam_passes:.0f} + {method.clip_passes:.1f}"
            rows.append([words, *shares, passes, f"{method.milliseconds:.0f}"])
    heads = ("percent", "mIoU", "present labels found", "absent labels with a mask")
    costs = ("backbone passes, SAM's or the student's + CLIP's", "ms a scene")
    mode = figures.everything
    return (
        f"{table((*heads, *costs), rows)}\n\n"
        f"Everything-mode: {mode.points_per_side} x {mode.points_per_side} points, predicted IoU "
        f"from {mode.predicted_iou}, stability from {mode.stability}, boxes' IoU up to "
        f"{mode.nms_iou}. The two thresholds are the best of several, SAM's own among them, on "
        f"{figures.tuning_scenes} scenes of training drawings."
    )


def _probing(figures: record.Probing) -> str:
    rows = []
    for probe in figures.probes:
        shares = (probe.accuracy.composed_top1, probe.accuracy.clean_top1, probe.miou)
        cells = map(percent, (*shares, probe.background_iou))
        rows.append([_BACKBONES[probe.backbone], *cells, f"{probe.grid} x {probe.grid}"])
    heads = ("percent", "top-1, composed", "top-1, plain grey", "mIoU, nouns and background")
    return (
        f"{table((*heads, 'IoU, background', 'feature map'), rows)}\n\nTrained on "
        f"{figures.train_pictures} pictures and {figures.train_scenes} scenes."
    )


def _resolutions(figures: record.Resolutions) -> str:
    shares = {
        (f"student after {row.stage}", row.resolution_px): percent(row.accuracy.composed_top1)
        for row in figures.rows
    }
    return by_size("top-1, percent, composed pictures", shares, unit=" px")


def _wise_ft(figures: record.WiseFt) -> str:
    points = [(f"alpha {point.alpha:.1f}", point) for point in figures.points]
    joint = f"the joint model, {figures.joint_steps} steps from the same stage 1"
    return _trade_offs([*points, (joint, figures.joint)])


def _lambdas(figures: record.Lambdas) -> str:
    return _trade_offs((f"lambda {row.sam_weight:g}", row) for row in figures.rows)


def _trade_offs(found: Iterable[tuple[str, record.TradeOff]]) -> str:
    rows = []
    for words, each in found:
        top1 = (each.accuracy.composed_top1, each.accuracy.clean_top1)
        rows.append([words, *map(percent, (*top1, each.prompts.box, each.prompts.point))])
    skills = ("top-1, composed", "top-1, plain grey", "mIoU, one box", "mIoU, one point")
    return table(("percent", *skills), rows)


def _footnote(part: record.Part[Any]) -> str:
    settings, environment = part.settings, part.environment
    weights = ", ".join(f"{name} {digest[:8]}" for name, digest in part.weights.items())
    minutes = NONE if part.seconds is None else f"{part.seconds / 60:.0f}"
    steps = f", trainings of {settings.steps} steps" if hasattr(part.figures, "training") else ""
    return (
        f"{settings.pictures} composed pictures and {settings.scenes} scenes, {settings.size_px} "
        f"px, seed {settings.seed}{steps}; weights {weights}; {environment.cpu}, "
        f"{environment.date[:10]}, {minutes} minutes. Measured by `{environment.command}`."
    )


def draw_charts(results: record.Results) -> dict[str, bytes]:
    """Draws a chart for each part that has one and was measured: part -> PNG."""
    charts: dict[str, tuple[int, Callable[[Any, Sequence[Axes]], None]]] = {
        "text_to_mask": (2, _draw_text_to_mask),
        "probing": (2, _draw_probing),
        "resolutions": (1, _draw_resolutions),
        "wise_ft": (2, _draw_wise_ft),
        "lambdas": (1, _draw_lambdas),
    }
    found = {}
    for name, (panels, draw) in charts.items():
        if (part := getattr(results, name)) is not None:
            figure = new_figure(8, 3.6)
            share = name == "text_to_mask"
            draw(part.figures, figure.subplots(1, panels, sharey=share, squeeze=False)[0])
            found[name] = encode_figure(figure)
    return found


def _draw_text_to_mask(part: record.TextToMasks, panels: Sequence[Axes]) -> None:
    quality, cost = panels
    found = {method.figures.heads: method for method in part.methods}
    names = [name for name in _METHODS if name in found][::-1]
    words = [_METHODS[name] for name in names]
    quality.barh(words, [100 * found[name].figures.miou for name in names], color=BLUE)
    quality.set_xlabel("mIoU, %")
    passes = [found[name].sam_passes + found[name].clip_passes for name in names]
    cost.barh(words, passes, color=GREY)
    cost.set_xlabel("backbone passes a scene")


def _draw_probing(part: record.Probing, panels: Sequence[Axes]) -> None:
    words = [_BACKBONES[probe.backbone] for probe in part.probes]
    top1 = [100 * probe.accuracy.composed_top1 for probe in part.probes]
    panels[0].bar(words, top1, color=BLUE)
    panels[0].set_ylabel("linear probe, top-1, %")
    panels[1].bar(words, [100 * probe.miou for probe in part.probes], color=ORANGE)
    panels[1].set_ylabel("linear probe, mIoU, %")


def _draw_resolutions(part: record.Resolutions, panels: Sequence[Axes]) -> None:
    for stage, colour in (("stage2", GREY), ("stage3", BLUE)):
        own = [row for row in part.rows if row.stage == stage]
        sizes = [row.resolution_px for row in own]
        shares = [100 * row.accuracy.composed_top1 for row in own]
        panels[0].plot(sizes, shares, marker="o", color=colour, label=f"after {stage}")
    panels[0].set_xlabel("input resolution, px")
    panels[0].set_ylabel(_TOP1)
    panels[0].set_xticks(sorted({row.resolution_px for row in part.rows}))
    panels[0].legend(frameon=False)


def _draw_wise_ft(part: record.WiseFt, panels: Sequence[Axes]) -> None:
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


def _draw_lambdas(part: record.Lambdas, panels: Sequence[Axes]) -> None:
    top1 = [100 * row.accuracy.composed_top1 for row in part.rows]
    box = [100 * row.prompts.box for row in part.rows]
    panels[0].plot(top1, box, color=GREY, marker="o", markerfacecolor=BLUE)
    for row, point in zip(part.rows, zip(top1, box, strict=True), strict=True):
        words = f"λ = {row.sam_weight:g}"
        panels[0].annotate(words, point, textcoords="offset points", xytext=(6, 6))
    panels[0].set_xlabel(_TOP1)
    panels[0].set_ylabel(_BOX)
    panels[0].margins(0.2)
