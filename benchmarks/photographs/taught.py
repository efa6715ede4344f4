"""How names were taught: by photographs, by classes of a classifier, by near nouns, or not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from benchmarks.photographs.record import Taught
from training.real.captioned_pictures import named_labels
from training.text.class_names import imagenet_lemmas
from training.text.wordnet import WordNet


def how_taught(
    names: Sequence[str], *, held_out: Sequence[str], wordnet: WordNet
) -> dict[str, Taught]:
    """Parts names by how they were taught.

    Args:
        names: cleaned.
        held_out: nouns; a name that holds one as a whole word is held out.
        wordnet: tells which nouns are near: those that are a kind of a taught noun, or of the same
            kind as one, in any of their meanings that a photograph can show. Taught are all names
            that are not held out, and those of ImageNet's classes.
    """
    classes = {lemma for lemmas in imagenet_lemmas() for lemma in lemmas}
    seen = {name for name in names if not named_labels(name, held_out)}
    meanings = _meanings(wordnet)
    known = {offset for name in seen | classes for offset in meanings.get(name, ())}
    parents = {parent for offset in known for parent in wordnet.synsets[offset].parents}

    def of(name: str) -> Taught:
        if name in seen:
            return "seen"
        if name in classes:
            return "classes"
        for offset in meanings.get(name, ()):
            if parents & set(wordnet.synsets[offset].parents) or known & set(wordnet.above(offset)):
                return "near"
        return "far"

    return {name: of(name) for name in names}


def names_of(taught: dict[str, Taught], kind: str) -> frozenset[str]:
    """The names that were taught one way, or all of them."""
    return frozenset(name for name, each in taught.items() if kind in ("all", each))


def kinds_of(taught: Iterable[Taught]) -> list[str]:
    """All, and the ways that there are, if there are several."""
    there = set(taught)
    ways = [kind for kind in ("seen", "classes", "near", "far") if kind in there]
    return ["all", *(ways if len(ways) > 1 else [])]


def _meanings(wordnet: WordNet) -> dict[str, list[int]]:
    """Name -> the synsets that a photograph can show."""
    found: dict[str, list[int]] = {}
    for synset in wordnet.visible():
        for name in synset.names:
            found.setdefault(name.lower(), []).append(synset.offset)
    return found
