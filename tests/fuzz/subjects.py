"""The subjects, and how a case of one is drawn from a seed."""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate, pairwise
from random import Random
from typing import TypeAlias

from tests.fuzz import (
    bundles,
    commands,
    embeddings,
    goldens,
    iterators,
    options,
    packs,
    pictures,
    prompts,
    texts,
    videos,
    zips,
)
from tests.fuzz.http import subject as http
from tests.fuzz.oracle import Case
from tests.fuzz.world import World

Subject: TypeAlias = Callable[[World], Callable[[Random], Case]]
"""Opens a subject in a world; what it returns draws a case."""

SUBJECTS: dict[str, Subject] = {
    "pictures": pictures.subject,
    "prompts": prompts.subject,
    "texts": texts.subject,
    "options": options.subject,
    "bundles": bundles.subject,
    "zips": zips.subject,
    "goldens": goldens.subject,
    "packs": packs.subject,
    "embeddings": embeddings.subject,
    "videos": videos.subject,
    "iterators": iterators.subject,
    "commands": commands.subject,
    "http": http.subject,
}

SHARES = {
    "pictures": 3,
    "prompts": 4,
    "texts": 0.5,
    "options": 2,
    "bundles": 2,
    "zips": 3,
    "goldens": 2,
    "packs": 2,
    "embeddings": 2,
    "videos": 0.25,
    "iterators": 0.25,
    "commands": 0.5,
    "http": 2.5,
}
"""Of all cases: more of what takes milliseconds, less of what takes longer."""


def shares(cases: int) -> dict[str, int]:
    """How many cases each subject gets, of so many, all of which are given; one at least."""
    total = sum(SHARES.values())
    ends = [round(cases * end / total) for end in accumulate(SHARES.values(), initial=0)]
    return {
        name: max(1, end - start) for name, (start, end) in zip(SHARES, pairwise(ends), strict=True)
    }


def random_of(subject: str, *, seed: int, index: int) -> Random:
    """What a case is drawn from: the same on every machine, whatever cases came before."""
    return Random(f"{seed}/{subject}/{index}")
