"""Nouns that must never compete: synonyms, and kinds with their hypernyms."""

from __future__ import annotations

from collections.abc import Sequence, Set
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from samclip_sdk.text.tokenizer import clean_text
from training.text.senses import Senses
from training.text.wordnet import WordNet

_HIGH = """
entity, physical entity, abstraction, abstract entity, thing, object, whole, part, unit, matter,
living thing, organism, causal agent, artifact, instrumentality, natural object, substance, process,
group, relation, communication, attribute, psychological feature
"""
_TOO_HIGH = frozenset(name.strip() for name in _HIGH.split(","))
"""First names of synsets so high that to be below one tells nothing."""

_MORE = {
    "girl": ("child",),
    "kitten": ("cat",),
    "mug": ("cup",),
    "pavement": ("road",),
    "pants": ("trousers", "jeans"),
    "traffic sign": ("street sign",),
    "stop sign": ("street sign", "traffic sign"),
}
"""Names that can be called others, which WordNet does not say."""


_LEVELS = 2  # above a name, for what has those in common with it: a parent and a grandparent

Key = int | str
"""An offset in WordNet, or a name that has none."""


class Relations:
    """Nouns by what is above their senses.

    Args:
        wordnet: of a folder with all that `Senses` needs.

    Raises:
        TrainingError: a file is missing or damaged.
    """

    def __init__(self, wordnet: WordNet) -> None:
        self.wordnet = wordnet
        self.senses = Senses(wordnet)
        self.upward = lru_cache(maxsize=None)(self._upward)

    def kin(self, names: Sequence[str]) -> NDArray[np.bool_]:
        """Returns which names must never be one another's negative: bool [N,N], symmetric.

        Such are those that are the same but for a plural, synonyms, and two of which one is a kind
        of the other, at whatever depth, in the senses of `Senses.of`. A name of several words is a
        kind of its head noun. What is too high, such as an artifact, is above nothing.
        """
        meant = [self._meant(name) for name in names]
        upward = [self.upward(name) | own for name, own in zip(names, meant, strict=True)]
        below = _meet(upward, meant)
        kin: NDArray[np.bool_] = below | below.T
        return kin

    def related(
        self,
        names: Sequence[str],
        others: Sequence[str],
        *,
        senses: Sequence[frozenset[int]] | None = None,
    ) -> NDArray[np.bool_]:
        """Returns which of N names are kin of M others, or share a (grand)parent: bool [N,M].

        A parent or grandparent that is too high does not count, nor does the head noun of a name
        that WordNet knows. The senses are of the others, where
        those of their names are not what is meant; of one that has none it is its name's.
        """
        given = [frozenset[int]()] * len(others) if senses is None else senses
        meant, upward, around = zip(*map(self._all_of, names), strict=True)
        meant_, upward_, around_ = zip(*map(self._all_of, others, given), strict=True)
        return _meet(upward, meant_) | _meet(meant, upward_) | _meet(around, around_)

    def head_or_self(self, name: str) -> tuple[int, ...]:
        """The senses of a name; of one that WordNet does not know, those of its head noun."""
        return self.senses.of(name) or self.senses.of(self.senses.head(name) or "")

    def is_low(self, offset: int) -> bool:
        """Returns whether a synset tells something of the synsets below it."""
        return self.wordnet.synsets[offset].names[0] not in _TOO_HIGH

    def _all_of(
        self, name: str, senses: frozenset[int] = frozenset()
    ) -> tuple[frozenset[Key], frozenset[Key], frozenset[Key]]:
        """Returns a name's senses, all synsets upward with themselves, and those just above."""
        level, around = set(senses or self.head_or_self(name)), set[int]()
        for _ in range(_LEVELS):
            level = {up for each in level for up in self.wordnet.synsets[each].parents}
            around |= level
        low = frozenset(filter(self.is_low, around))
        if senses >= set(self.senses.of(name)) or not senses:
            meant, upward = self._meant(name), self.upward(name)
            if self.senses.of(name):
                upward -= {self.senses.head(name)}  # a Boston bull is no bull
            return meant | senses, meant | senses | upward, low
        above = {up for each in senses for up in self.wordnet.above(each)}
        return frozenset(senses), frozenset((*senses, *filter(self.is_low, above))), low

    def _meant(self, name: str) -> frozenset[Key]:
        """A name's senses, and the name itself, in the singular too."""
        cleaned = clean_text(name)
        return frozenset((*self.senses.of(name), cleaned, *self.senses.lemmas(cleaned)))

    def _upward(self, name: str) -> frozenset[Key]:
        """Returns a name's senses and hypernyms as offsets, its head noun and synonyms as names.

        It is without what is too high.
        """
        head = self.senses.head(name)
        senses = self.senses.of(name)
        called = [each.lower() for sense in senses for each in self.wordnet.synsets[sense].names]
        called += _MORE.get(clean_text(name), ())
        if head is not None:
            called.append(head)
        above = {
            each
            for sense in self.head_or_self(name)
            for each in (sense, *self.wordnet.above(sense))
        }
        return frozenset((*filter(self.is_low, above), *called))


def _meet(sets: Sequence[Set[Key]], others: Sequence[Set[Key]]) -> NDArray[np.bool_]:
    """Returns which of N sets and M other sets have something in common: bool [N,M]."""
    columns: dict[Key, list[int]] = {}
    for column, found in enumerate(others):
        for each in found:
            columns.setdefault(each, []).append(column)
    meet = np.zeros((len(sets), len(others)), dtype=np.bool_)
    for row, found in enumerate(sets):
        for each in found:
            meet[row, columns.get(each, [])] = True
    return meet
