"""The record of the quality on sets that no training has a part in, and its tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from pydantic import Field

from benchmarks.photographs.record import (
    ALL,
    Estimate,
    PresenceAuc,
    PromptIou,
    TextToMask,
    with_interval,
)
from benchmarks.record import Model, Record, Run
from benchmarks.report import NONE, columns, table

Among = Literal["own", "taught", "imagenet"]


class HeldOutSettings(Record):
    """What was asked of a run: how many pictures of each set, and how figures were resampled."""

    pictures: dict[str, int]
    limit: int | None
    resamples: int = Field(default=1000, gt=0)
    seed: int = Field(default=0, ge=0)


class GroupQuality(Record):
    """The figures of a group of sets; a part that its sets cannot answer is null.

    If `fresh`, they are of those of its pictures that no training of an earlier model saw, either.
    `texts` are at the model's own thresholds; `ungated` is the mean IoU of the present labels
    whatever their presence. `il_mcc` is the correlation of what was found with what is there, and
    SA-Co's IL_FPR is `texts.false`.
    """

    of: str
    fresh: bool
    pictures: int
    texts: TextToMask | None
    ungated: Estimate | None
    il_mcc: Estimate | None
    presence: PresenceAuc | None
    prompts: PromptIou | None


class NameQuality(Record):
    """Names of whole pictures of a set, or of all: is a right one first of `labels`, or of five.

    They are told apart among the set's own names, among these and all that the bundle brings, or
    among ImageNet's thousand.
    """

    of: str
    among: Among
    pictures: int
    labels: int
    top1: Estimate
    top5: Estimate


class HeldOutFigures(Record):
    """What was found; `broken` counts the pictures that could not be read, by kind."""

    groups: tuple[GroupQuality, ...]
    names: tuple[NameQuality, ...]
    broken: dict[str, int]


class HeldOutQuality(Run, HeldOutFigures):
    """The whole of held_out_sets.json."""

    model: Model
    settings: HeldOutSettings


_AMONG: dict[Among, str] = {
    "own": "the set's own",
    "taught": "all that it was taught, and the set's own",
    "imagenet": "ImageNet's classes",
}


def _of_texts(field: str) -> Callable[[GroupQuality], Estimate | None]:
    return lambda row: getattr(row.texts, field) if row.texts else None


_FIGURES: dict[str, Callable[[GroupQuality], Estimate | None]] = {
    "text to mask: mIoU, a false mask counts as 0": _of_texts("miou"),
    "text to mask: mIoU of present labels": _of_texts("miou_present"),
    "the same with no presence gate": lambda row: row.ungated,
    "present labels found": _of_texts("found"),
    "absent labels that get a mask (il_fpr)": _of_texts("false"),
    "found against present, correlation (il_mcc)": lambda row: row.il_mcc,
    "presence, area under the curve": lambda row: row.presence.auc if row.presence else None,
    "mIoU of a box, mean over objects": lambda row: row.prompts.box if row.prompts else None,
    "mIoU of one point, mean over objects": lambda row: row.prompts.point if row.prompts else None,
}
_COUNTS: dict[str, Callable[[GroupQuality], str]] = {
    "pictures": lambda row: str(row.pictures),
    "labels, present / absent": lambda row: (
        f"{row.texts.present} / {row.texts.absent}" if row.texts else NONE
    ),
    "objects": lambda row: str(row.prompts.objects) if row.prompts else NONE,
}
_NAMES: dict[str, Callable[[NameQuality], str]] = {
    "set": lambda row: row.of if row.of == ALL else f"`{row.of}`",
    "among": lambda row: _AMONG[row.among],
    "names": lambda row: str(row.labels) if row.labels else NONE,
    "pictures": lambda row: str(row.pictures),
    "top-1, %": lambda row: with_interval(row.top1),
    "top-5, %": lambda row: with_interval(row.top5),
}


def render(record: HeldOutQuality) -> dict[str, str]:
    """Name -> table: figures by group, names, and how it was made."""
    fresh = [row for row in record.groups if row.fresh]
    tables = {"all_pictures": _by_group([row for row in record.groups if not row.fresh])}
    if fresh:
        tables["fresh_pictures"] = _by_group(fresh)
    if record.names:
        tables["names"] = columns(record.names, _NAMES, words=2)
    return {**tables, "made": _footnote(record)}


def render_summary(record: HeldOutQuality) -> str:
    """The figures of fresh pictures by group, the names over all sets, and how it was made."""
    fresh = [row for row in record.groups if row.fresh] or record.groups
    names = [
        f"top-1 / top-5 among {_AMONG[row.among].replace('the set', 'a set')} names, "
        f"{row.pictures} pictures: {with_interval(row.top1)} / {with_interval(row.top5)} %"
        for row in record.names
        if row.of == ALL
    ]
    lines = "".join(f"* {line}\n" for line in names)
    return f"{_by_group(fresh)}\n\n{lines}\n{_footnote(record)}\n"


def _by_group(groups: Sequence[GroupQuality]) -> str:
    rows = [row for row in groups if row.pictures]
    figures = [
        (name, *(with_interval(figure(row)) for row in rows)) for name, figure in _FIGURES.items()
    ]
    counts = [(name, *map(cell, rows)) for name, cell in _COUNTS.items()]
    return table(("%", *(row.of for row in rows)), [*figures, *counts])


def _footnote(record: HeldOutQuality) -> str:
    settings, made = record.settings, record.environment
    limit = f", {settings.limit} pictures a set at most" if settings.limit else ""
    broken = "".join(f", {kind} broken: {count}" for kind, count in sorted(record.broken.items()))
    run_by = [name for name in ("python", "onnxruntime") if name in made.versions]
    versions = ", ".join(f"{name} {made.versions[name]}" for name in run_by)
    return (
        f"{record.model.text} on {record.model.runtime}, {record.model.precision}; "
        f"{len(settings.pictures)} sets, {sum(settings.pictures.values())} pictures{limit}"
        f"{broken}; in brackets, 95 % of {settings.resamples} resamples of the pictures, seed "
        f"{settings.seed}; {made.system}, {versions}; {made.footnote}"
    )
