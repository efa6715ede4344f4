"""paper.json as Markdown tables: ours alone; the paper's numbers are in the page's own text."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from benchmarks.paper.record import (
    Lambdas,
    Part,
    Probing,
    Resolutions,
    Results,
    Teachers,
    TextToMasks,
    TradeOff,
    WiseFt,
)
from benchmarks.report import NONE, percent, table

METHODS = {
    "two_models": "two models: SAM everything + CLIP",
    "two_models_or_nothing": "two models, with names for the background",
    "clip_head": "one model, CLIP head alone",
    "both_heads": "one model, both heads",
}
BACKBONES = {"sam_teacher": "SAM teacher", "clip_teacher": "CLIP teacher", "student": "student"}


def render(results: Results) -> dict[str, str]:
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
        part: Part[Any] | None = getattr(results, name)
        missing = "This was not measured.\n"
        found[name] = missing if part is None else f"{draw(part.figures)}\n\n{_footnote(part)}\n"
    return found


def _teachers(figures: Teachers) -> str:
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


def _text_to_mask(figures: TextToMasks) -> str:
    methods = {method.figures.heads: method for method in figures.methods}
    rows = []
    for name, words in METHODS.items():
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


def _probing(figures: Probing) -> str:
    rows = []
    for probe in figures.probes:
        shares = (probe.accuracy.composed_top1, probe.accuracy.clean_top1, probe.miou)
        cells = map(percent, (*shares, probe.background_iou))
        rows.append([BACKBONES[probe.backbone], *cells, f"{probe.grid} x {probe.grid}"])
    heads = ("percent", "top-1, composed", "top-1, plain grey", "mIoU, nouns and background")
    return (
        f"{table((*heads, 'IoU, background', 'feature map'), rows)}\n\nTrained on "
        f"{figures.train_pictures} pictures and {figures.train_scenes} scenes."
    )


def _resolutions(figures: Resolutions) -> str:
    found = {
        (row.stage, row.resolution_px): percent(row.accuracy.composed_top1) for row in figures.rows
    }
    sizes = sorted({size for _, size in found})
    rows = [
        [f"student after {stage}", *(found.get((stage, size), NONE) for size in sizes)]
        for stage in dict.fromkeys(stage for stage, _ in found)
    ]
    return table(("top-1, percent, composed pictures", *(f"{size} px" for size in sizes)), rows)


def _wise_ft(figures: WiseFt) -> str:
    points = [(f"alpha {point.alpha:.1f}", point) for point in figures.points]
    joint = f"the joint model, {figures.joint_steps} steps from the same stage 1"
    return _trade_offs([*points, (joint, figures.joint)])


def _lambdas(figures: Lambdas) -> str:
    return _trade_offs((f"lambda {row.sam_weight:g}", row) for row in figures.rows)


def _trade_offs(found: Iterable[tuple[str, TradeOff]]) -> str:
    rows = []
    for words, each in found:
        top1 = (each.accuracy.composed_top1, each.accuracy.clean_top1)
        rows.append([words, *map(percent, (*top1, each.prompts.box, each.prompts.point))])
    skills = ("top-1, composed", "top-1, plain grey", "mIoU, one box", "mIoU, one point")
    return table(("percent", *skills), rows)


def _footnote(part: Part[Any]) -> str:
    settings, environment = part.settings, part.environment
    weights = ", ".join(f"{name} {digest[:8]}" for name, digest in part.weights.items())
    minutes = NONE if part.seconds is None else f"{part.seconds / 60:.0f}"
    steps = f", trainings of {settings.steps} steps" if hasattr(part.figures, "training") else ""
    return (
        f"{settings.pictures} composed pictures and {settings.scenes} scenes, {settings.size_px} "
        f"px, seed {settings.seed}{steps}; weights {weights}; {environment.cpu}, "
        f"{environment.date[:10]}, {minutes} minutes. Measured by `{environment.command}`."
    )
