"""paper.json as Markdown: our tables, and in columns of their own the paper's numbers."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.paper import published
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

INTRODUCTION = """\
[SAM-CLIP](https://arxiv.org/abs/2310.15308) merges a SAM and a CLIP of the size ViT-B. Here the
repository's small SAM and small CLIP are the teachers, and `samclip-tiny` is the student. They were
trained on CPU cores and measured on drawings and backgrounds that no training saw. Some tables need
a checkpoint from before the end of training. Their student comes from another, shorter training
than the one that ships: the weights named under the table show which.

**Columns headed "published" hold the paper's numbers, copied from it.** They are of other models,
on other data sets, and often in another measure. What can be compared is which row is ahead."""

_SKILLS = ("top-1, composed", "top-1, plain grey", "mIoU, one box", "mIoU, one point")


def render(results: Results) -> str:
    """The sections of the parts that were measured; those of charts are beside the page."""
    return "\n\n".join("\n\n".join(section) for section in _sections(results)) + "\n"


def _sections(results: Results) -> Iterator[list[str]]:
    if (teachers := results.teachers) is not None:
        title = "How much of its teachers the student keeps (table 1)"
        yield [f"## {title}", _teachers(teachers.figures), _footnote(teachers)]
    if (texts := results.text_to_mask) is not None:
        title = "Text to mask: one model or two (tables 2, 5 and 7)"
        chart = _chart(title, "text_to_mask")
        yield [f"## {title}", _text_to_mask(texts.figures), chart, _footnote(texts)]
    if (probing := results.probing) is not None:
        title = "What the features hold: linear probes (tables 3 and 4, figure 4)"
        chart = _chart(title, "probing")
        yield [f"## {title}", _probing(probing.figures), chart, _footnote(probing)]
    if (resolutions := results.resolutions) is not None:
        title = "Input resolution, before and after stage 3 (table 6)"
        chart = _chart(title, "resolutions")
        yield [f"## {title}", _resolutions(resolutions.figures), chart, _footnote(resolutions)]
    if (wise_ft := results.wise_ft) is not None:
        title = "Averaging weights instead (appendix D, figure 8)"
        text = _wise_ft(wise_ft.figures, steps=wise_ft.settings.steps)
        yield [f"## {title}", text, _chart(title, "wise_ft"), _footnote(wise_ft)]
    if (lambdas := results.lambdas) is not None:
        title = "The weight of SAM's loss (appendix A)"
        text = _lambdas(lambdas.figures, steps=lambdas.settings.steps)
        yield [f"## {title}", text, _chart(title, "lambdas"), _footnote(lambdas)]


def _chart(title: str, name: str) -> str:
    return f"![{title}](images/{name}.png)"


def _teachers(figures: Teachers) -> str:
    clip, student = figures.clip_teacher, figures.student_accuracy
    sam, prompts = figures.sam_teacher, figures.student_prompts
    imagenet = ("ImageNet top-1", published.IMAGENET_CLIP, published.IMAGENET_STUDENT)
    coco = ("COCO mAP, boxes", published.COCO_SAM, published.COCO_STUDENT)
    rows = [
        _kept("top-1, composed pictures", clip.composed_top1, student.composed_top1, imagenet),
        _kept("top-5, composed pictures", clip.composed_top5, student.composed_top5, None),
        _kept("top-1, cut-outs over plain grey", clip.clean_top1, student.clean_top1, None),
        _kept("top-5, cut-outs over plain grey", clip.clean_top5, student.clean_top5, None),
        _kept("mIoU, one box", sam.box, prompts.box, coco),
        _kept("mIoU, one point", sam.point, prompts.point, None),
        _kept("mIoU, one point, best of three", sam.point_best, prompts.point_best, None),
    ]
    heads = ("percent", "its teacher", "student", "kept")
    theirs = ("published: in", "published: teacher", "published: SAM-CLIP", "published: kept")
    return (
        f"Zero-shot, {clip.labels} nouns; {sam.objects} objects. The first four rows are against "
        "the CLIP teacher, the others against the SAM teacher.\n\n" + table((*heads, *theirs), rows)
    )


def _kept(
    name: str, teacher: float, student: float, paper: tuple[str, float, float] | None
) -> list[str]:
    ours = [name, percent(teacher), percent(student), _ratio(student, teacher)]
    if paper is None:
        return [*ours, NONE, NONE, NONE, NONE]
    measure, before, after = paper
    return [*ours, measure, f"{before:.1f}", f"{after:.1f}", _ratio(after, before)]


def _ratio(after: float, before: float) -> str:
    return f"{after / before:.1%}" if before else NONE


def _text_to_mask(figures: TextToMasks) -> str:
    methods = {method.figures.heads: method for method in figures.methods}
    rows = []
    for name, words in METHODS.items():
        if name not in methods:
            continue
        method = methods[name]
        own, paper = method.figures, published.VOC.get(name)
        cells = [percent(own.miou), percent(own.recall), percent(own.false_positive_rate)]
        cells += [f"{method.sam_passes:.0f} + {method.clip_passes:.1f}"]
        cells += [f"{method.milliseconds:.0f}", NONE if paper is None else f"{paper:.1f}"]
        rows.append([words, *cells])
    heads = ("percent", "mIoU", "present labels found", "absent labels with a mask")
    costs = ("backbone passes, SAM's or the student's + CLIP's", "ms a scene")
    mode = figures.everything
    return (
        "Each scene is asked for its own labels and for five absent ones; an absent label that "
        "gets a mask counts as an IoU of 0.\n\n"
        + table((*heads, *costs, "published: mIoU on Pascal VOC"), rows)
        + f"\n\nEverything-mode: {mode.points_per_side} x {mode.points_per_side} points, predicted "
        f"IoU from {mode.predicted_iou}, stability from {mode.stability}, boxes' IoU up to "
        f"{mode.nms_iou}. The two thresholds are the best of several, SAM's own among them, on "
        f"{figures.tuning_scenes} scenes of training drawings. Without names for the background, "
        "every segment gets one of the labels."
    )


def _probing(figures: Probing) -> str:
    rows = []
    for probe in figures.probes:
        shares = (probe.accuracy.composed_top1, probe.accuracy.clean_top1, probe.miou)
        theirs = (published.LINEAR_CLASSIFICATION, published.LINEAR_SEGMENTATION)
        pairs = (each[probe.backbone] for each in theirs)
        rows.append(
            [
                BACKBONES[probe.backbone],
                *map(percent, (*shares, probe.background_iou)),
                f"{probe.grid} x {probe.grid}",
                *(f"{first:.1f} / {second:.1f}" for first, second in pairs),
            ]
        )
    heads = ("percent", "top-1, composed", "top-1, plain grey", "mIoU, nouns and background")
    theirs_heads = (
        "published: top-1 on ImageNet / Places365",
        "published: mIoU on Pascal VOC / ADE20k, linear head",
    )
    return (
        f"Logistic regression on frozen features, trained on {figures.train_pictures} pictures "
        f"(mean and maximum of the map) and {figures.train_scenes} scenes (one patch at a time) of "
        "training drawings, tested on held-out ones.\n\n"
        + table((*heads, "IoU, background", "feature map", *theirs_heads), rows)
    )


def _resolutions(figures: Resolutions) -> str:
    found = {
        (row.stage, row.resolution_px): percent(row.accuracy.composed_top1) for row in figures.rows
    }
    sizes = sorted({size for _, size in found})
    ours = table(
        ("top-1, percent, composed pictures", *(f"{size} px" for size in sizes)),
        [
            [f"student after {stage}", *(found.get((stage, size), NONE) for size in sizes)]
            for stage in dict.fromkeys(stage for stage, _ in found)
        ],
    )
    theirs = table(
        ("published: SAM-CLIP", "ImageNet", "ImageNet-v2", "Places365"),
        [
            [f"{size} px", *(f"{value:.1f}" for value in values)]
            for size, values in published.RESOLUTIONS.items()
        ],
    )
    return f"{ours}\n\n{theirs}"


def _trade_off(name: str, found: TradeOff) -> list[str]:
    top1 = (found.accuracy.composed_top1, found.accuracy.clean_top1)
    return [name, *map(percent, (*top1, found.prompts.box, found.prompts.point))]


def _wise_ft(figures: WiseFt, *, steps: int) -> str:
    rows = [_trade_off(f"alpha {point.alpha:.1f}", point.skills) for point in figures.points]
    rows.append(_trade_off("the joint model", figures.joint))
    return (
        f"SAM's image encoder is distilled from CLIP alone for {steps} steps (alpha 1), and every "
        "weight of it is moved back towards SAM's (alpha 0). The joint model is the student, "
        f"{figures.joint_steps} steps from the same stage 1.\n\n"
        + table(("percent", *_SKILLS), rows)
        + f"\n\nPublished: no alpha has both more than {published.WISE_FT_ACCURACY} % on ImageNet "
        f"and more than {published.WISE_FT_MAP} mAP on COCO; SAM-CLIP has "
        f"{published.IMAGENET_STUDENT} and {published.COCO_STUDENT}."
    )


def _lambdas(figures: Lambdas, *, steps: int) -> str:
    rows = [_trade_off(f"lambda {row.sam_weight:g}", row.skills) for row in figures.rows]
    return (
        f"Joint distillations of {steps} steps from the same stage 1, alike but for lambda.\n\n"
        + table(("percent", *_SKILLS), rows)
        + "\n\nPublished: of 1, 10 and 100, 10 is the best trade-off; no numbers are given."
    )


def _footnote(
    part: Part[Teachers]
    | Part[TextToMasks]
    | Part[Probing]
    | Part[Resolutions]
    | Part[WiseFt]
    | Part[Lambdas],
) -> str:
    settings, environment = part.settings, part.environment
    weights = ", ".join(f"{name} {digest[:8]}" for name, digest in part.weights.items())
    minutes = NONE if part.seconds is None else f"{part.seconds / 60:.0f}"
    return (
        f"{settings.pictures} composed pictures and {settings.scenes} scenes, {settings.size_px} "
        f"px, seed {settings.seed}; weights {weights}; {environment.cpu}, {environment.date[:10]}, "
        f"{minutes} minutes. Measured by `{environment.command}`."
    )
