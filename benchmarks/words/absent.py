"""How often a compound is found in images where what it is a kind of is known to be absent.

Only compounds that are not taught, and of which both readers list a name that a set labels
completely: where no cup is labelled, there is no coffee cup. Each is asked as it is read now, and
by its own embedding, as before there was a table of words; and the name beside it.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.intervals import Bootstrap, mean
from benchmarks.quality.held_out import HeldOutImages, choose_held_out, read_list
from benchmarks.suite import Measuring
from benchmarks.words.everyday import EverydayWord
from samclip_sdk import ImageEmbedding, SamClip
from samclip_sdk.errors import UnknownWordWarning
from samclip_sdk.runtimes.source import ModelSource

GROUP = "everyday"
"""Of the held-out sets, those of photographs of daily life."""

NOW, BEFORE, NAME = "now", "before", "name"

PEOPLE, THINGS, UNKNOWN = "people", "things", "not known"

ROW: list[tuple[str, Any]] = [
    ("owner", int),
    ("of", object),
    ("compound", object),
    (NOW, bool),
    (BEFORE, bool),
    (NAME, bool),
]
"""An image, a compound that is absent in it, and whether it or its name is found."""


class WithoutTable:
    """A model's source without its table of words, so that each text speaks for itself.

    Args:
        source: that brings one.
    """

    words_path = None

    def __init__(self, source: ModelSource) -> None:
        self._source = source

    def __getattr__(self, name: str) -> Any:
        """All else is the source's own."""
        return getattr(self._source, name)


def without_table(samclip: SamClip) -> SamClip:
    """The same model, as it answered before it had a table of words."""
    return SamClip(WithoutTable(samclip.source))


def add_absent(
    measured: Measuring,
    samclip: SamClip,
    before: SamClip,
    words: Sequence[EverydayWord],
    *,
    root: Path,
    seed: int,
) -> None:
    """Asks images of the sets below `root` for the compounds that are absent in them.

    `before` is the same model, without its table of words.

    Raises:
        TrainingError, DatasetError: as `choose_held_out`.
    """
    chosen = choose_held_out(root, read_list(), seed=seed)
    images = [each for each, own in chosen.sets.items() if own.group == GROUP]
    taught = frozenset(samclip.words)
    compounds = [each for each in words if each.kind == "compound" and each.word not in taught]
    readings = samclip.read_labels([each.word for each in compounds])
    unknown = {name for name, reading in readings.items() if reading.kind == "unknown"}
    rows: list[tuple[int, str, str, bool, bool, bool]] = []
    for image in measured.track(images, "absent compounds"):
        absent = absent_compounds(chosen, image, compounds)
        if not absent:
            continue
        embedding = samclip.encode_image(chosen.read(image))
        names = frozenset().union(*absent.values())
        told = found_in(samclip, embedding, absent), found_in(before, embedding, absent)
        there = found_in(samclip, embedding, names)
        for compound, own in absent.items():
            of = UNKNOWN if compound in unknown else PEOPLE if "person" in own else THINGS
            found = (compound in each for each in told)
            rows.append((image, of, compound, *found, not own.isdisjoint(there)))
    table = np.array(rows, ROW)
    bootstrap = Bootstrap(seed=seed)
    for split in (THINGS, PEOPLE, UNKNOWN):
        part = table[table["of"] == split]
        if not len(part):
            continue
        figures = {
            who: bootstrap.estimate(mean(part[who]), owners=part["owner"])
            for who in (BEFORE, NOW, NAME)
        }
        number, shown = (len(np.unique(part[each])) for each in ("compound", "owner"))
        measured.add("absent", split, n=len(part), compounds=number, images=shown, **figures)


def absent_compounds(
    chosen: HeldOutImages, image: int, compounds: Iterable[EverydayWord]
) -> dict[str, frozenset[str]]:
    """The compounds that are absent in an image, each with the set's names that it is one of."""
    one = chosen.photographs[image]
    if not one.found.complete:
        return {}
    absent = {chosen.photographs.names[each] for each in chosen.photographs.absent(image)}
    names = {each.name for each in one.found.categories if not each.nameless}
    found = {}
    for each in compounds:
        own = each.readers[0].listed & each.readers[1].listed & names
        if own and own <= absent:
            found[each.word] = own
    return found


def found_in(samclip: SamClip, image: ImageEmbedding, labels: Collection[str]) -> frozenset[str]:
    """The labels that are found by default."""
    with warnings.catch_warnings():
        # It would name the words, of which half are set aside.
        warnings.simplefilter("ignore", UnknownWordWarning)
        return frozenset(samclip.segment_text(image, list(labels), refine=False).labels)
