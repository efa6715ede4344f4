"""The share of nouns that lie nearest to a taught word that they are related to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from training.text.lexicon import Places, TaughtWord
from training.text.relations import Relations

_FALLS = 0.4  # the cosine from which a word falls on a taught one


@dataclass(frozen=True)
class NearestWords:
    """The taught words that nouns lie nearest to.

    Attributes:
        nearest: of each noun, the taught word that is nearest, and the cosine.
        right: whether it is the noun itself or related to it.
        has_relative: whether any taught word is.
    """

    nearest: dict[str, tuple[str, float]]
    right: dict[str, bool]
    has_relative: dict[str, bool]

    def share(self) -> float:
        """Returns the share of nouns that lie nearest to a relative."""
        return sum(self.right.values()) / len(self.right)

    def share_of_kindred(self) -> float:
        """Returns the same share of the nouns that have a relative among the taught words."""
        kindred = [self.right[noun] for noun, has in self.has_relative.items() if has]
        return sum(kindred) / max(len(kindred), 1)

    def fallen(self) -> list[str]:
        """The nouns that lie beside what they have nothing to do with."""
        return [
            noun
            for noun, (_, cosine) in self.nearest.items()
            if cosine >= _FALLS and not self.right[noun]
        ]


def measure_nearest(
    relations: Relations,
    nouns: Sequence[str],
    embeddings: Tensor,
    *,
    taught: Sequence[TaughtWord],
    table: Tensor,
) -> NearestWords:
    """Finds the taught word nearest to each noun.

    Args:
        relations: of nouns.
        nouns: N of them.
        embeddings: theirs, [N,E], unit length.
        taught: G words.
        table: their embeddings, [G,E], unit length.
    """
    places = Places(relations, taught)
    related = torch.from_numpy(
        relations.related(
            nouns,
            [word.names[0] for word in taught],
            senses=[places.meant(word) for word in taught],
        )
    )
    cosines, found = (embeddings @ table.T).max(dim=1)
    rows = list(zip(nouns, found.tolist(), cosines.tolist(), strict=True))
    return NearestWords(
        nearest={noun: (taught[word].names[0], cosine) for noun, word, cosine in rows},
        right={
            noun: noun in taught[word].names or bool(related[row, word])
            for row, (noun, word, _) in enumerate(rows)
        },
        has_relative={noun: bool(related[row].any()) for row, noun in enumerate(nouns)},
    )
