"""An evaluation as a table, beside what the paper reports for its own model."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.public.record import Accuracy, Evaluation, Figures, Instances, Retrieval
from benchmarks.report import NONE, percent, table

PUBLISHED = {
    "imagenet": {"top-1": "72.4 at 336 px"},
    "imagenet-v2": {"top-1": "63.2 at 336 px"},
    "places365": {"top-1": "43.6 at 336 px"},
    "flickr30k": {"text to image, R@1": "79.2 at 336 px"},
    "coco-captions": {"text to image, R@1": "49.3 at 336 px"},
    "pascal-voc": {
        "mIoU, CLIP head alone": "60.6 at 448 px",
        "mIoU, both heads": "66.0 at 1024 px",
    },
    "pascal-context": {"mIoU, CLIP head alone": "29.2 at 448 px"},
    "ade20k": {"mIoU, CLIP head alone": "17.1 at 448 px"},
    "coco-stuff": {"mIoU, CLIP head alone": "31.5 at 448 px"},
    "coco-panoptic": {"mIoU, CLIP head alone": "28.8 at 448 px"},
    "coco-instances": {"AP": "40.9 at 1024 px"},
    "lvis": {"AP": "35.0 at 1024 px"},
}
"""SAM-CLIP ViT-B (arXiv 2310.15308), tables 1, 2, 5 and 6, in percent."""

_HEADS = {"clip_head": "CLIP head alone", "both_heads": "both heads"}


def render(evaluation: Evaluation) -> str:
    """The figures in percent; the last column is the paper's model, not the measured one."""
    model, published = evaluation.model, PUBLISHED.get(evaluation.dataset, {})
    rows = []
    for figures in evaluation.figures:
        shares = _rows(figures)
        rows += [[name, percent(value), published.get(name, NONE)] for name, value in shares]
        rows.append(["pictures", f"{figures.pictures} at {figures.resolution_px} px", ""])
    random = ", random weights" if model.random_weights else ""
    title = f"{model.name} {model.revision}{random}: {evaluation.dataset}"
    return f"{title}\n\n{table(('percent', 'measured', 'SAM-CLIP in the paper'), rows)}\n"


def _rows(figures: Figures) -> Iterator[tuple[str, float | None]]:
    if isinstance(figures, Accuracy):
        yield from {"top-1": figures.top1, "top-5": figures.top5}.items()
    elif isinstance(figures, Retrieval):
        ways = {"image to text": figures.image_to_text, "text to image": figures.text_to_image}
        for way, recall in ways.items():
            for first, share in ((1, recall.r1), (5, recall.r5), (10, recall.r10)):
                yield f"{way}, R@{first}", share
    elif isinstance(figures, Instances):
        for name in ("", "50", "75", "_small", "_medium", "_large"):
            yield f"AP{name.replace('_', ', ')}", getattr(figures, f"ap{name}")
        for name in ("rare", "common", "frequent"):
            if (value := getattr(figures, f"ap_{name}")) is not None:
                yield f"AP, {name}", value
    else:
        yield f"mIoU, {_HEADS[figures.heads]}", figures.miou
        if figures.unanswered:
            yield "pixels without a label", figures.unanswered
