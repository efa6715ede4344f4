"""How the parts of the paper are told: who was measured, and what was named, in words."""

from __future__ import annotations

from benchmarks.table import Part, Row, Table

PARTS = ("teachers", "text_to_mask", "probing", "resolutions", "wise_ft", "lambdas")

METHODS = {
    "two_models": "two models: SAM everything + CLIP",
    "two_models_or_nothing": "two models, with names for the background",
    "clip_head": "one model, CLIP head alone",
    "both_heads": "one model, both heads",
}
BACKBONES = {"sam_teacher": "SAM teacher", "clip_teacher": "CLIP teacher", "student": "student"}
KINDS: dict[str, tuple[str, str]] = {
    "composed": ("composed pictures", "composed"),
    "clean": ("cut-outs over plain grey", "plain grey"),
    "all names": ("the sets' names", "the sets' names"),
    "imagenet": ("ImageNet's names", "ImageNet's names"),
    "probed": ("the probe's names", "the probe's names"),
}
"""What is named -> in words of a row, and in those of a head of a column. The first of those that
were measured is what charts show."""


def part_of(table: Table, name: str) -> Part | None:
    """The newest run of a part; None if it was not measured."""
    found = [part for part in table.parts if part.run.settings.get("part") == name]
    return found[-1] if found else None


def names_of(part: Part, who: str) -> dict[str, dict[str, Row]]:
    """The figures of each kind of names that someone was asked for, in the order of `KINDS`."""
    found = {}
    for kind in KINDS:
        subject = f"{who}: {kind}"
        splits = part.splits(subject, "top1")
        if splits:
            found[kind] = part.metrics(subject, splits[0])
    return found
