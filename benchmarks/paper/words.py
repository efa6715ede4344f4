"""How the parts of the paper are told: who was measured, and what was named, in words."""

from __future__ import annotations

from benchmarks.table import Part, Row, Table

SUITE = "paper_photographs"
PARTS = ("teachers", "text_to_mask", "probing")

METHODS = {
    "two_models": "two models: SAM everything + CLIP",
    "two_models_or_nothing": "two models, with names for the background",
    "clip_head": "one model, CLIP head alone",
    "both_heads": "one model, both heads",
}
BACKBONES = {"sam_teacher": "SAM teacher", "clip_teacher": "CLIP teacher", "student": "student"}
KINDS = {
    "all names": "the sets' names",
    "imagenet": "ImageNet's names",
    "probed": "the probe's names",
}
"""What is named, in words."""


def part_of(table: Table, name: str) -> Part | None:
    """The newest run of a part; None if it was not measured."""
    found = [part for part in table.parts if part.run.settings.get("part") == name]
    return found[-1] if found else None


def names_of(part: Part, who: str) -> dict[str, dict[str, Row]]:
    """The figures of each kind of names that someone was asked for, in the order of `KINDS`."""
    every = {kind: part.metrics(f"{who}: {kind}", "all") for kind in KINDS}
    return {kind: found for kind, found in every.items() if "top1" in found}
