"""The taught words that nouns lie nearest to, and whether these are related."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from training.text.lexicon import Places, TaughtWord
from training.text.relations import Relations


class NearestWord(NamedTuple):
    """The taught word that is nearest to a noun.

    Attributes:
        cosine: of their embeddings.
        right: whether it is the noun itself or related to it.
        has_relative: whether any taught word is.
    """

    noun: str
    word: str
    cosine: float
    right: bool
    has_relative: bool


def measure_nearest(
    relations: Relations,
    nouns: Sequence[str],
    embeddings: Tensor,
    *,
    taught: Sequence[TaughtWord],
    table: Tensor,
) -> list[NearestWord]:
    """Finds the taught word nearest to each noun, by unit embeddings [N,E] and [G,E]."""
    places = Places(relations, taught)
    heads, senses = [word.names[0] for word in taught], [places.meant(word) for word in taught]
    related = relations.related(nouns, heads, senses=senses)
    cosines, found = (embeddings @ table.T).max(dim=1)
    return [
        NearestWord(
            noun,
            heads[word],
            cosine,
            right=noun in taught[word].names or bool(row[word]),
            has_relative=bool(row.any()),
        )
        for noun, word, cosine, row in zip(
            nouns, found.tolist(), cosines.tolist(), related, strict=True
        )
    ]
