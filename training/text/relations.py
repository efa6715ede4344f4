"""Which nouns must never compete: the same, synonyms, and kinds with what they are kinds of."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from samclip_sdk.text.tokenizer import clean_text
from training.text.senses import Senses
from training.text.wordnet import WordNet

_TOO_HIGH = frozenset(
    (
        "entity",
        "physical entity",
        "abstraction",
        "abstract entity",
        "thing",
        "object",
        "whole",
        "part",
        "unit",
        "matter",
        "living thing",
        "organism",
        "causal agent",
        "artifact",
        "instrumentality",
        "natural object",
        "substance",
        "process",
        "group",
        "relation",
        "communication",
        "attribute",
        "psychological feature",
    )
)
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
        """Which names must never be one another's negative: bool [N,N], symmetric.

        Such are those that are the same but for a plural, synonyms, and two of which one is a kind
        of the other, at whatever depth, in the senses of `Senses.of`. A name of several words is a
        kind of its head noun. What is too high, such as an artifact, is above nothing.
        """
        rows: dict[int | str, list[int]] = {}  # of names, by what they mean
        for row, name in enumerate(names):
            for each in self._meant(name):
                rows.setdefault(each, []).append(row)
        below = np.zeros((len(names), len(names)), dtype=np.bool_)
        for row, name in enumerate(names):
            for each in self._meant(name) | self.upward(name):
                below[row, rows.get(each, [])] = True
        return below | below.T

    def _meant(self, name: str) -> frozenset[int | str]:
        """A name's senses, and the name itself, in the singular too."""
        cleaned = clean_text(name)
        return frozenset((*self.senses.of(name), cleaned, *self.senses.lemmas(cleaned)))

    def _upward(self, name: str) -> frozenset[int | str]:
        """What a name means or is a kind of, as offsets, its head noun and its synonyms, as names.

        It is without what is too high.
        """
        senses, head = self.senses.of(name), self.senses.head(name)
        called = [each.lower() for sense in senses for each in self.wordnet.synsets[sense].names]
        called += _MORE.get(clean_text(name), ())
        if head is not None:
            called.append(head)
            senses = senses or self.senses.of(head)
        above = {each for sense in senses for each in (sense, *self.wordnet.above(sense))}
        low = (each for each in above if self.wordnet.synsets[each].names[0] not in _TOO_HIGH)
        return frozenset((*low, *called))
