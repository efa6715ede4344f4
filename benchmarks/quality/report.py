"""quality.json as Markdown: the one table of the README and of the model card."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from benchmarks.record import HELDOUT, OPENMOJI, UNSEEN, PromptIou, Quality, TextToMask, TopK

NONE = "–"

_HEADINGS = {
    HELDOUT: "New drawings of taught nouns",
    OPENMOJI: "A new drawing style (OpenMoji)",
    UNSEEN: "Nouns never taught",
}
_PICTURES = {"clean": "cut-outs over plain grey", "composed": "one object, composed"}
_WHO = {"model": "", "floor": "floor without learning: ", "clip_teacher": "CLIP teacher: "}


def insert_table(page: str, table: str, *, name: str = "quality") -> str:
    """Puts the table between a page's markers of that name, whatever stood there.

    Raises:
        ValueError: the page does not have one pair of markers.
    """
    start, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    if page.count(start) != 1 or page.count(end) != 1 or page.index(start) > page.index(end):
        raise ValueError(f"the page has no place for the table: one {start} and one {end} after it")
    before, rest = page.split(start)
    after = rest.split(end)[1]
    return f"{before}{start}\n{table}{end}{after}"


def render(quality: Quality) -> str:
    """The table, and under it how it was made."""
    splits = [split for split in _HEADINGS if any(row.split == split for row in quality.prompts)]
    lines = [
        "| | " + " | ".join(_HEADINGS[split] for split in splits) + " |",
        "|---|" + "---:|" * len(splits),
    ]
    for name, cell in (*_top_k_rows(quality), *_prompt_rows(quality), *_text_rows(quality)):
        cells = [cell(split) for split in splits]
        if any(each != NONE for each in cells):
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", _footnote(quality), ""])


Cell = Callable[[str], str]
"""A split's entry in a row."""


def _top_k_rows(quality: Quality) -> Iterator[tuple[str, Cell]]:
    for picture, words in _PICTURES.items():
        for who, prefix in _WHO.items():

            def cell(split: str, who: str = who, picture: str = picture) -> str:
                rows = [
                    row
                    for row in quality.top_k
                    if (row.who, row.picture, row.split) == (who, picture, split)
                ]
                return "; ".join(_top_k(row) for row in rows) or NONE

            yield f"{prefix}top-1 / top-5, {words}", cell


def _top_k(row: TopK) -> str:
    return f"{row.top1:.1%} / {row.top5:.1%} of {row.labels}"


def _prompt_rows(quality: Quality) -> Iterator[tuple[str, Cell]]:
    def cell_of(who: str, name: str) -> Cell:
        rows: dict[str, PromptIou] = {row.split: row for row in quality.prompts if row.who == who}
        return lambda split: f"{getattr(rows[split], name):.3f}" if split in rows else NONE

    for who, prefix in (("model", ""), ("sam_teacher", "SAM teacher: ")):
        yield f"{prefix}mIoU, box prompt", cell_of(who, "box")
        yield f"{prefix}mIoU, one point", cell_of(who, "point")
        yield f"{prefix}mIoU, one point, best of three masks", cell_of(who, "point_best")


def _text_rows(quality: Quality) -> Iterator[tuple[str, Cell]]:
    def cell_of(heads: str, name: str) -> Cell:
        rows: dict[str, TextToMask] = {
            row.split: row for row in quality.text_to_mask if row.heads == heads
        }

        def cell(split: str) -> str:
            value = getattr(rows[split], name) if split in rows else None
            return NONE if value is None else f"{value:.3f}"

        return cell

    for name, words in (
        ("miou", "text-to-mask mIoU"),
        ("iou_found", "text-to-mask: IoU of the present labels found"),
    ):
        yield f"{words}, CLIP head alone", cell_of("clip_head", name)
        yield f"{words}, both heads", cell_of("both_heads", name)
    for name, words in (
        ("recall", "present labels found"),
        ("false_positive_rate", "absent labels that got a mask"),
        ("nearest_false_positive_rate", "the same, the nearest absent label"),
    ):
        yield f"text-to-mask: {words}, both heads", cell_of("both_heads", name)


def _footnote(quality: Quality) -> str:
    subject, environment, settings = quality.subject, quality.environment, quality.settings
    random = ", random weights" if subject.random_weights else ""
    return (
        f"`{subject.name}` {subject.revision}{random} on {subject.runtime}, {settings.nouns} nouns "
        f"taught; {settings.pictures} composed pictures and {settings.scenes} scenes a split, "
        f"{settings.size_px} px, seed {settings.seed}; {environment.cpu}, "
        f"{environment.date[:10]}. Text-to-mask asks each scene for its own labels and five absent "
        "ones, among them the nearest by text embedding; an absent label that gets a mask counts "
        "as an IoU of 0. The floor is the nearest training cut-out by HOG and colour. Measured by "
        f"`{environment.command}`."
    )
