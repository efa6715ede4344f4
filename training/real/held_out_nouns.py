"""Which nouns of photographs no training may learn, so that a benchmark can ask for new things."""

from __future__ import annotations

from collections.abc import Collection

from training.real.captioned_pictures import named_labels
from training.real.photographs import Photographs
from training.text.held_out import hash_place

KEPT = ("person",)
"""Never held out: too many pictures show it."""


def choose_held_out(photographs: Photographs, *, nouns: Collection[str], share: float) -> list[str]:
    """Chooses nouns by their hashes: the same ones each time, and few more where sets are added.

    Candidates are the nouns that a picture of the split shows. In the order of their hashes, they
    are held out until so large a share of them is, first of those that masks of complete sets are
    of, then of the others. A name that holds a held-out noun as a whole word counts as held out,
    since nobody learns it: with "dog", so is "hot dog".

    Args:
        photographs: of the split "val", with all names.
        nouns: all nouns of the language, in lower case.
        share: 0..1.

    Returns:
        The held-out nouns, sorted.
    """
    masked, shown = _shown_names(photographs)
    chosen: list[str] = []
    for stratum in (masked, shown - masked):
        names = sorted(stratum & set(nouns) - set(KEPT), key=hash_place)
        for name in names:
            lost = sum(bool(named_labels(each, chosen)) for each in names)
            if lost >= share * len(names):
                break
            if not named_labels(name, chosen):
                chosen.append(name)
    return sorted(chosen)


def _shown_names(photographs: Photographs) -> tuple[set[str], set[str]]:
    """The names that masks of complete sets are of, and all that any picture shows."""
    names = photographs.names
    masked: set[str] = set()
    shown: set[str] = set()
    for picture in range(len(photographs)):
        one = photographs[picture]
        concepts = one.concepts(one.numbers)
        annotated = {names[each] for each in concepts[concepts >= 0]}
        shown |= annotated | {names[each] for each in photographs.labels(picture)}
        if one.found.complete:
            masked |= annotated
    return masked, shown
