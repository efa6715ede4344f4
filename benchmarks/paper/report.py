"""results.json as a page: our tables, and in columns of their own the paper's numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from benchmarks.paper import published
from benchmarks.paper.record import (
    LambdasPart,
    Part,
    ProbingPart,
    ResolutionsPart,
    Results,
    TeachersPart,
    TextToMaskPart,
    TradeOff,
    WiseFtPart,
)

NONE = "–"

METHODS = {
    "two_models": "two models: SAM everything + CLIP",
    "two_models_or_nothing": "the same, with names for the background",
    "clip_head": "one model, CLIP head alone",
    "both_heads": "one model, both heads",
}
BACKBONES = {"sam_teacher": "SAM teacher", "clip_teacher": "CLIP teacher", "student": "student"}

_INTRODUCTION = """\
# The paper's findings, on a small scale

Written by `python -m benchmarks paper-report` from [results.json](results.json), which
`python -m benchmarks paper` writes. [SAM-CLIP](https://arxiv.org/abs/2310.15308) merges a SAM and
a CLIP of the size ViT-B. Here the repository's small SAM and small CLIP are the teachers, and
`samclip-tiny` is the student: trained on CPU cores, measured on drawings and backgrounds that no
training saw. Where a table needs a checkpoint from before the end of training, its student is of
another, shorter one than the shipped: the weights under the table tell.

**Columns headed "published" hold the paper's numbers, copied from it.** They are of other models,
on other data sets, and often in another measure. What can be compared is which row is ahead.
"""


def render(results: Results, *, figures: Mapping[str, str]) -> str:
    """The page.

    Args:
        results: what was measured; parts that were not have no section.
        figures: part -> address of its figure, from the page.
    """
    sections = [_INTRODUCTION]
    for name, title, part, lines in _sections(results):
        picture = [f"![{title}]({figures[name]})", ""] if name in figures else []
        sections.append("\n".join([f"## {title}", "", *lines, "", *picture, _footnote(part), ""]))
    return "\n".join(sections)


def _sections(results: Results) -> Iterator[tuple[str, str, Part, list[str]]]:
    """Name, title, part and text of each part that was measured."""
    if (teachers := results.teachers) is not None:
        title = "How much of its teachers the student keeps (table 1)"
        yield "teachers", title, teachers, _teachers(teachers)
    if (texts := results.text_to_mask) is not None:
        title = "Text to mask: one model or two (tables 2, 5 and 7)"
        yield "text_to_mask", title, texts, _text_to_mask(texts)
    if (probing := results.probing) is not None:
        title = "What the features hold: linear probes (tables 3 and 4, figure 4)"
        yield "probing", title, probing, _probing(probing)
    if (resolutions := results.resolutions) is not None:
        title = "Input resolution, before and after stage 3 (table 6)"
        yield "resolutions", title, resolutions, _resolutions(resolutions)
    if (wise_ft := results.wise_ft) is not None:
        title = "Averaging weights instead (appendix D, figure 8)"
        yield "wise_ft", title, wise_ft, _wise_ft(wise_ft)
    if (lambdas := results.lambdas) is not None:
        title = "The weight of SAM's loss (appendix A)"
        yield "lambdas", title, lambdas, _lambdas(lambdas)


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A Markdown table's lines; all columns but the first are of numbers."""
    return [
        "| " + " | ".join(heads) + " |",
        "|---|" + "---:|" * (len(heads) - 1),
        *("| " + " | ".join(row) + " |" for row in rows),
    ]


def percent(share: float) -> str:
    """A share as percent, to one decimal."""
    return f"{100 * share:.1f}"


def _teachers(part: TeachersPart) -> list[str]:
    figures = part.figures
    clip, student = figures.clip_teacher, figures.student_accuracy
    sam, prompts = figures.sam_teacher, figures.student_prompts
    imagenet = (published.IMAGENET_CLIP, published.IMAGENET_STUDENT, "ImageNet top-1")
    coco = (published.COCO_SAM, published.COCO_STUDENT, "COCO mAP, boxes")
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
    return [
        f"Zero-shot, {clip.labels} nouns; {sam.objects} objects. The first four rows are against "
        "the CLIP teacher, the others against the SAM teacher.",
        "",
        *table((*heads, *theirs), rows),
    ]


def _kept(
    name: str, teacher: float, student: float, paper: tuple[float, float, str] | None
) -> list[str]:
    ours = [name, percent(teacher), percent(student), _ratio(student, teacher)]
    if paper is None:
        return [*ours, NONE, NONE, NONE, NONE]
    before, after, measure = paper
    return [*ours, measure, f"{before:.1f}", f"{after:.1f}", _ratio(after, before)]


def _ratio(after: float, before: float) -> str:
    return f"{after / before:.1%}" if before else NONE


def _text_to_mask(part: TextToMaskPart) -> list[str]:
    methods = {method.figures.heads: method for method in part.figures.methods}
    rows = []
    for name, words in METHODS.items():
        if name not in methods:
            continue
        method = methods[name]
        found, false = method.figures.recall, method.figures.false_positive_rate
        paper = published.VOC.get(name)
        rows.append(
            [
                words,
                percent(method.figures.miou),
                percent(found),
                NONE if false is None else percent(false),
                f"{method.sam_passes:.0f} + {method.clip_passes:.1f}",
                f"{method.milliseconds:.0f}",
                NONE if paper is None else f"{paper:.1f}",
            ]
        )
    heads = ("percent", "mIoU", "present labels found", "absent labels with a mask")
    costs = ("backbone passes, SAM's or the student's + CLIP's", "ms a scene")
    mode = part.figures.everything
    return [
        "Each scene is asked for its own labels and for five absent ones; an absent label that "
        "gets a mask counts as an IoU of 0.",
        "",
        *table((*heads, *costs, "published: mIoU on Pascal VOC"), rows),
        "",
        f"Everything-mode: {mode.points_per_side} x {mode.points_per_side} points, predicted IoU "
        f"from {mode.predicted_iou}, stability from {mode.stability}, boxes' IoU up to "
        f"{mode.nms_iou}; the two thresholds are the best of several, SAM's own among them, on "
        f"{part.figures.tuning_scenes} scenes of training drawings. Without names for the "
        "background, every segment gets one of the labels.",
    ]


def _probing(part: ProbingPart) -> list[str]:
    rows = []
    for probe in part.figures.probes:
        voc, ade = published.LINEAR_SEGMENTATION[probe.backbone]
        imagenet, places = published.LINEAR_CLASSIFICATION[probe.backbone]
        rows.append(
            [
                BACKBONES[probe.backbone],
                percent(probe.accuracy.composed_top1),
                percent(probe.accuracy.clean_top1),
                percent(probe.miou),
                percent(probe.background_iou),
                f"{probe.grid} x {probe.grid}",
                f"{imagenet:.1f} / {places:.1f}",
                f"{voc:.1f} / {ade:.1f}",
            ]
        )
    heads = (
        "percent",
        "top-1, composed",
        "top-1, plain grey",
        "mIoU, nouns and background",
        "IoU, background",
        "feature map",
        "published: top-1 on ImageNet / Places365",
        "published: mIoU on Pascal VOC / ADE20k, linear head",
    )
    return [
        f"Logistic regression on frozen features, trained on {part.figures.train_pictures} "
        f"pictures (mean and maximum of the map) and {part.figures.train_scenes} scenes (one "
        "patch at a time) of training drawings, tested on held-out ones.",
        "",
        *table(heads, rows),
    ]


def _resolutions(part: ResolutionsPart) -> list[str]:
    rows = part.figures.rows
    stages = list(dict.fromkeys(row.stage for row in rows))
    found = {(row.stage, row.resolution_px): percent(row.accuracy.composed_top1) for row in rows}
    sizes = sorted({row.resolution_px for row in rows})
    ours = table(
        ("top-1, percent, composed pictures", *(f"{size} px" for size in sizes)),
        [
            [f"student after {stage}", *(found.get((stage, size), NONE) for size in sizes)]
            for stage in stages
        ],
    )
    paper = table(
        ("published: SAM-CLIP", "ImageNet", "ImageNet-v2", "Places365"),
        [
            [f"{size} px", *(f"{value:.1f}" for value in values)]
            for size, values in published.RESOLUTIONS.items()
        ],
    )
    return [*ours, "", *paper]


def _skills(skills: TradeOff) -> list[str]:
    return [
        percent(skills.accuracy.composed_top1),
        percent(skills.accuracy.clean_top1),
        percent(skills.prompts.box),
        percent(skills.prompts.point),
    ]


_SKILLS = ("top-1, composed", "top-1, plain grey", "mIoU, one box", "mIoU, one point")


def _wise_ft(part: WiseFtPart) -> list[str]:
    rows = [[f"alpha {point.alpha:.1f}", *_skills(point.skills)] for point in part.figures.points]
    rows.append(["the joint model", *_skills(part.figures.joint)])
    return [
        f"SAM's image encoder, distilled from CLIP alone for {part.settings.steps} steps (alpha "
        "1), and every weight of it moved back towards SAM's (alpha 0). The joint model is the "
        f"student, {part.figures.joint_steps} steps from the same stage 1.",
        "",
        *table(("percent", *_SKILLS), rows),
        "",
        f"Published: no alpha has both more than {published.WISE_FT_ACCURACY} % on ImageNet and "
        f"more than {published.WISE_FT_MAP} mAP on COCO; SAM-CLIP has "
        f"{published.IMAGENET_STUDENT} and {published.COCO_STUDENT}.",
    ]


def _lambdas(part: LambdasPart) -> list[str]:
    rows = [[f"lambda {row.sam_weight:g}", *_skills(row.skills)] for row in part.figures.rows]
    return [
        f"Joint distillations of {part.settings.steps} steps from the same stage 1, alike but for "
        "lambda.",
        "",
        *table(("percent", *_SKILLS), rows),
        "",
        "Published: of 1, 10 and 100, 10 is the best trade-off; no numbers are given.",
    ]


def _footnote(part: Part) -> str:
    settings, environment = part.settings, part.environment
    weights = ", ".join(f"{name} {digest[:8]}" for name, digest in part.weights.items())
    return (
        f"{settings.pictures} composed pictures and {settings.scenes} scenes, {settings.size_px} "
        f"px, seed {settings.seed}; weights {weights}; {environment.cpu}, {environment.date[:10]}, "
        f"{part.seconds / 60:.0f} minutes. Measured by `{environment.command}`."
    )
