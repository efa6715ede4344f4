"""The nouns that the small default model is taught, and every name that each answers to.

The rule, decided by the data in ``corpus/objects.csv`` and by nothing else:

1. Nouns that a person could not tell apart in a drawing are one noun (`corpus.MERGED`).
2. A noun needs at least one drawing in the split ``heldout_instance``, so that what was learned
   can be measured on drawings that were never trained on.
3. The nouns left are ranked by how many distinct drawings the split ``train`` has of them, then
   by the held-out ones, then by name; the first n are the vocabulary. Microsoft's Fluent emoji
   come in three renderings of one drawing, which count once.

A noun's synonyms are those of ``corpus/concepts.json`` and of the nouns merged into it, less any
that is itself another noun or a synonym of two nouns: a name must point to one thing.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from dataclasses import dataclass

from training.composed.corpus import CORPUS, canonical, read_rows
from training.errors import TrainingError


@dataclass(frozen=True)
class Noun:
    """One noun of the corpus.

    Attributes:
        name: The noun itself, the label that a model is asked for.
        synonyms: Other names for it, sorted; no name belongs to two nouns.
        train_drawings: Distinct drawings in the split ``train``.
        heldout_drawings: Distinct drawings in the split ``heldout_instance``.
    """

    name: str
    synonyms: tuple[str, ...]
    train_drawings: int
    heldout_drawings: int

    @property
    def names(self) -> tuple[str, ...]:
        """The noun and its synonyms, the noun first."""
        return (self.name, *self.synonyms)


def tiny_vocabulary(n: int) -> tuple[Noun, ...]:
    """The n nouns with the most drawings, by the rule in this module's docstring.

    They are sorted by name, so that an index does not hint at how common a noun is.

    Raises:
        TrainingError: The corpus has fewer than n nouns that can be measured.
    """
    nouns = [noun for noun in all_nouns() if noun.heldout_drawings]
    if not 0 < n <= len(nouns):
        raise TrainingError(f"the corpus has {len(nouns)} nouns with a held-out drawing, not {n}")
    ranked = sorted(nouns, key=lambda x: (-x.train_drawings, -x.heldout_drawings, x.name))
    return tuple(sorted(ranked[:n], key=lambda noun: noun.name))


def unseen_nouns() -> tuple[Noun, ...]:
    """The nouns of the split ``unseen_concept``, never trained on, sorted by name."""
    return tuple(noun for noun in all_nouns() if not noun.train_drawings)


def all_nouns() -> tuple[Noun, ...]:
    """Every noun of the corpus, merged, sorted by name."""
    drawings = _distinct_drawings()
    concepts = json.loads((CORPUS / "concepts.json").read_text(encoding="utf-8"))
    synonyms: dict[str, set[str]] = defaultdict(set)
    for concept, entry in concepts.items():
        synonyms[canonical(concept)].update(entry["synonyms"], [concept])
    shared = Counter(name for names in synonyms.values() for name in names)
    return tuple(
        Noun(
            name=name,
            synonyms=tuple(sorted(x for x in synonyms[name] - {name} if shared[x] == 1)),
            train_drawings=drawings["train", name],
            heldout_drawings=drawings["heldout_instance", name],
        )
        for name in sorted(synonyms)
    )


def _distinct_drawings() -> Counter[tuple[str, str]]:
    rows = read_rows(CORPUS / "objects.csv")
    drawings = {(row["split"], canonical(row["concept"]), *_drawing(row)) for row in rows}
    return Counter((split, noun) for split, noun, *_ in drawings)


def _drawing(row: dict[str, str]) -> tuple[str, str]:
    """Returns a row's own key: its file, or Fluent's label for all renderings."""
    if row["style"].startswith("fluent_"):
        return "fluent", row["label"].lower()
    return row["style"], row["file"]
