"""paper.json and paper_photographs.json as Markdown tables and as charts.

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
_KINDS: dict[record.Kind, tuple[str, str]] = {
    "composed": ("composed pictures", "composed"),
    "clean": ("cut-outs over plain grey", "plain grey"),
    "all_names": ("the sets' names", "the sets' names"),
    "imagenet": ("ImageNet's names", "ImageNet's names"),
    "probed": ("the probe's names", "the probe's names"),
}
"""What is named -> in words of a row, and in those of a head of a column."""

_BACKBONES = {"sam_teacher": "SAM teacher", "clip_teacher": "CLIP teacher", "student": "student"}


def render(results: record.Results) -> dict[str, str]:
    """Part -> its table and how it was made."""
    tables: dict[str, Callable[[Any], str]] = {
        "teachers": _teachers,
        "text_to_mask": _text_to_mask,
        "probing": _probing,
        "resolutions": _resolutions,
        "wise_ft": _wise_ft,
        "lambdas": lambda figures: _trade_offs(
            (f"lambda {row.sam_weight:g}", row) for row in figures.rows
        ),
    }
    found = {}
    for name, draw in tables.items():
        part: record.Part[Any] | None = getattr(results, name)
        missing = "This was not measured.\n"
        found[name] = missing if part is None else f"{draw(part.figures)}\n\n{_footnote(part)}\n"
    return found


def _teachers(figures: record.Teachers) -> str:
    pairs: dict[str, tuple[float | None, float]] = {}
    asked = []
    for kind, before in _in_order(figures.clip_teacher):
        after, words = figures.student_accuracy[kind], _KINDS[kind][0]
        pairs[f"top-1, {words}"] = (before.top1, after.top1)
        pairs[f"top-5, {words}"] = (before.top5, after.top5)
        pictures = "" if before.pictures is None else f" in {before.pictures} pictures"
        asked.append(f"{words}: {before.labels} names{pictures}")
    masks = {"box": "box", "point": "point", "point_best": "point, best of three"}
    sam, student = figures.sam_teacher, figures.student_prompts
    for name, words in masks.items():
        pairs[f"mIoU, one {words}"] = (getattr(sam, name, None), getattr(student, name))
    rows = [
        [words, percent(before), percent(after), f"{after / before:.1%}" if before else NONE]
        for words, (before, after) in pairs.items()
    ]
    note = f"Zero-shot, {'; '.join(asked)}. Masks of {student.objects} objects."
    if sam is None:
        note += " The SAM teacher's weights were not kept."
    return f"{table(('percent', 'its teacher', 'student', 'kept'), rows)}\n\n{note}"


def _in_order(accuracy: record.Accuracy) -> list[tuple[record.Kind, record.TopK]]:
    """What was named, in the order of `_KINDS`: the first is what charts show."""
    return [(kind, accuracy[kind]) for kind in _KINDS if kind in accuracy]


def _first(accuracy: record.Accuracy) -> record.TopK:
    return _in_order(accuracy)[0][1]


def _top1(accuracy: record.Accuracy) -> dict[str, str]:
    """Head of a column -> its cell."""
    found = _in_order(accuracy)
    return {f"top-1, {_KINDS[kind][1]}": percent(each.top1) for kind, each in found}


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
    costs = ("backbone passes, SAM's or the student's + CLIP's", "ms a picture")
    mode = figures.everything
    return (
        f"{table((*heads, *costs), rows)}\n\n"
        f"Everything-mode: {mode.points_per_side} x {mode.points_per_side} points, predicted IoU "
        f"from {mode.predicted_iou}, stability from {mode.stability}, boxes' IoU up to "
        f"{mode.nms_iou}. The two thresholds are the best of several, SAM's own among them, on "
        f"{figures.tuning_scenes} pictures that are not among these."
    )


def _probing(figures: record.Probing) -> str:
    rows = []
    for probe in figures.probes:
        top1 = _top1(probe.accuracy)
        cells = (*top1.values(), percent(probe.miou), percent(probe.background_iou))
        rows.append([_BACKBONES[probe.backbone], *cells, f"{probe.grid} x {probe.grid}"])
    heads = ("percent", *top1, "mIoU, nouns and background")
    return (
        f"{table((*heads, 'IoU, background', 'feature map'), rows)}\n\nTrained on "
        f"{figures.train_pictures} pictures and {figures.train_scenes} scenes; "
        f"{_first(figures.probes[0].accuracy).labels} names."
    )


def _resolutions(figures: record.Resolutions) -> str:
    # Cut-outs over plain grey are all alike in size, and left out.
    kinds = [kind for kind, _ in _in_order(figures.rows[0].accuracy) if kind != "clean"]
    several = len(kinds) > 1
    shares = {
        (
            f"student after {row.stage}" + (f", {_KINDS[kind][1]}" if several else ""),
            row.resolution_px,
        ): percent(row.accuracy[kind].top1)
        for kind in kinds
        for row in figures.rows
    }
    head = "top-1, percent" if several else f"top-1, percent, {_KINDS[kinds[0]][0]}"
    return by_size(head, shares, unit=" px")


def _wise_ft(figures: record.WiseFt) -> str:
    points = [(f"alpha {point.alpha:.1f}", point) for point in figures.points]
    joint = "the joint model"
    if figures.joint_steps is not None:
        joint += f", {figures.joint_steps} steps from the same stage 1"
    return _trade_offs([*points, (joint, figures.joint)])


def _trade_offs(found: Iterable[tuple[str, record.TradeOff]]) -> str:
    rows = []
    for words, each in found:
        top1, masks = _top1(each.accuracy), (percent(each.prompts.box), percent(each.prompts.point))
        rows.append([words, *top1.values(), *masks])
    return table(("percent", *top1, "mIoU, one box", "mIoU, one point"), rows)


def _footnote(part: record.Part[Any]) -> str:
    environment = part.environment
    weights = ", ".join(f"{name} {digest[:8]}" for name, digest in part.weights.items())
    minutes = NONE if part.seconds is None else f"{part.seconds / 60:.0f}"
    tools = f"python {environment.versions['python']}, torch {environment.versions['torch']}"
    return (
        f"{_asked(part)}; weights {weights}; {environment.cpu}, {tools}, "
        f"{environment.day}, {minutes} minutes. Measured by `{environment.command}`."
    )


def _asked(part: record.Part[Any]) -> str:
    settings = part.settings
    if isinstance(settings, record.PhotographSettings):
        return (
            f"Up to {settings.pictures} named photographs and {settings.scenes} with masks, of "
            f"{settings.sets} sets, {settings.complete} of which label everything, seed "
            f"{settings.seed}"
        )
    trained = getattr(part.figures, "training", None) is not None
    steps = f", trainings of {settings.steps} steps" if trained else ""
    return (
        f"{settings.pictures} composed pictures and {settings.scenes} scenes, {settings.size_px} "
        f"px, seed {settings.seed}{steps}"
    )


def _draw_text_to_mask(part: record.TextToMasks, panels: Sequence[Axes]) -> None:
    quality, cost = panels
    found = {method.figures.heads: method for method in part.methods}
    names = [name for name in _METHODS if name in found][::-1]
    words = [_METHODS[name] for name in names]
    quality.barh(words, [100 * found[name].figures.miou for name in names], color=BLUE)
    quality.set_xlabel("mIoU, %")
    passes = [found[name].sam_passes + found[name].clip_passes for name in names]
    cost.barh(words, passes, color=GREY)
    cost.set_xlabel("backbone passes a picture")


def _draw_probing(part: record.Probing, panels: Sequence[Axes]) -> None:
    words = [_BACKBONES[probe.backbone] for probe in part.probes]
    top1 = [100 * _first(probe.accuracy).top1 for probe in part.probes]
    panels[0].bar(words, top1, color=BLUE)
    panels[0].set_ylabel("linear probe, top-1, %")
    panels[1].bar(words, [100 * probe.miou for probe in part.probes], color=ORANGE)
    panels[1].set_ylabel("linear probe, mIoU, %")


def _draw_resolutions(part: record.Resolutions, panels: Sequence[Axes]) -> None:
    stages = list(dict.fromkeys(row.stage for row in part.rows))
    for stage, colour in zip(stages[::-1], (BLUE, GREY, ORANGE)):  # noqa: B905, as many as there are
        own = [row for row in part.rows if row.stage == stage]
        sizes = [row.resolution_px for row in own]
        shares = [100 * _first(row.accuracy).top1 for row in own]
        panels[0].plot(sizes, shares, marker="o", color=colour, label=f"after {stage}")
    ticks = sorted({row.resolution_px for row in part.rows})
    panels[0].set(xlabel="input resolution, px", ylabel=_TOP1, xticks=ticks)
    panels[0].legend(frameon=False)


def _draw_wise_ft(part: record.WiseFt, panels: Sequence[Axes]) -> None:
    alphas, every = [point.alpha for point in part.points], (*part.points, part.joint)
    shares = {
        _TOP1: [100 * _first(each.accuracy).top1 for each in every],
        _BOX: [100 * each.prompts.box for each in every],
    }
    for axes, (words, (*values, together)) in zip(panels, shares.items(), strict=True):
        axes.plot(alphas, values, marker="o", color=BLUE, label="interpolated weights")
        axes.axhline(together, color=ORANGE, linestyle="--", label="joint model")
        axes.set(xlabel="alpha: 0 is SAM, 1 is CLIP", ylabel=words)
    panels[0].legend(frameon=False)


def _draw_lambdas(part: record.Lambdas, panels: Sequence[Axes]) -> None:
    top1 = [100 * _first(row.accuracy).top1 for row in part.rows]
    box = [100 * row.prompts.box for row in part.rows]
    panels[0].plot(top1, box, color=GREY, marker="o", markerfacecolor=BLUE)
    for row, point in zip(part.rows, zip(top1, box, strict=True), strict=True):
        words = f"λ = {row.sam_weight:g}"
        panels[0].annotate(words, point, textcoords="offset points", xytext=(6, 6))
    panels[0].set(xlabel=_TOP1, ylabel=_BOX)
    panels[0].margins(0.2)


CHARTS: dict[str, tuple[int, Callable[[Any, Sequence[Axes]], None]]] = {
    "text_to_mask": (2, _draw_text_to_mask),
    "probing": (2, _draw_probing),
    "resolutions": (1, _draw_resolutions),
    "wise_ft": (2, _draw_wise_ft),
    "lambdas": (1, _draw_lambdas),
}
"""The parts that have a chart: how many panels, and what draws them."""


def draw_charts(results: record.Results) -> dict[str, bytes]:
    """Draws a chart for each part that has one and was measured: part -> PNG."""
    found = {}
    for name, (panels, draw) in CHARTS.items():
        if (part := getattr(results, name)) is not None:
            figure = new_figure(8, 3.6)
            share = name == "text_to_mask"
            draw(part.figures, figure.subplots(1, panels, sharey=share, squeeze=False)[0])
            found[name] = encode_figure(figure)
    return found
