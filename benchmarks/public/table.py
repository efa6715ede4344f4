"""An evaluation as a table on the screen, beside what the paper reports for its own model."""

from __future__ import annotations

from collections.abc import Iterator

from rich.table import Table

from benchmarks.public.record import Accuracy, Evaluation, Figures, Instances, Retrieval

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
_NONE = "–"


def render(evaluation: Evaluation) -> Table:
    """The figures in percent; the last column is the paper's model, not the measured one."""
    subject, settings = evaluation.subject, evaluation.settings
    random = ", random weights" if subject.random_weights else ""
    title = f"{subject.name} {subject.revision}{random}: {settings.dataset}"
    table = Table("", "measured", "SAM-CLIP in the paper", title=title)
    published = PUBLISHED.get(settings.dataset, {})
    for figures in evaluation.figures:
        for name, value in _rows(figures):
            measured = _NONE if value is None else f"{value:.1%}"
            table.add_row(name, measured, published.get(name, _NONE))
        table.add_row("pictures", f"{figures.pictures} at {figures.resolution_px} px", "")
    return table


def _rows(figures: Figures) -> Iterator[tuple[str, float | None]]:
    if isinstance(figures, Accuracy):
        yield "top-1", figures.top1
        yield "top-5", figures.top5
    elif isinstance(figures, Retrieval):
        for way, recall in (
            ("image to text", figures.image_to_text),
            ("text to image", figures.text_to_image),
        ):
            yield f"{way}, R@1", recall.r1
            yield f"{way}, R@5", recall.r5
            yield f"{way}, R@10", recall.r10
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
