"""The words that a model was taught, and how near any other text is to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from samclip_sdk.errors import one_line
from samclip_sdk.text.tokenizer import clean_text

KNOWN_COSINE = 0.75
"""From this cosine on, a text says as much to the model as the taught word that is nearest: plurals
(cars and car, .99), synonyms (couch and sofa, .92) and kinds (puppy and dog, .92) are above it in
samclip-mobile, and what nothing taught is below (goat and sheep, .54)."""

_NEAREST = 3
_SPELLED_ALIKE = 0.8  # difflib's ratio: persn and person .91, okra and opera .67


@dataclass(frozen=True)
class KnownWords:
    """The words that pictures taught a model.

    Attributes:
        words: K nouns.
        embeddings: float32 [K,E], unit length.
        thresholds: for each word, 0..1, the presence from which it is in an image; None for the
            bundle's.
    """

    words: Sequence[str]
    embeddings: NDArray[np.float32]
    thresholds: Sequence[float | None] = ()

    @cached_property
    def own_thresholds(self) -> Mapping[str, float]:
        """Word -> its own threshold."""
        pairs = zip(self.words, self.thresholds, strict=False)
        return {clean_text(word): own for word, own in pairs if own is not None}

    def nearest(
        self, embedding: NDArray[np.float32], *, count: int = _NEAREST
    ) -> list[tuple[str, float]]:
        """The words that are nearest to an embedding [E], the nearest first, with their cosines."""
        cosines = self.embeddings @ embedding
        order = np.argsort(-cosines, kind="stable")[:count].tolist()
        return [(self.words[place], float(cosines[place])) for place in order]

    def why_unknown(self, label: str, embedding: NDArray[np.float32]) -> str | None:
        """What a user should know of a label that says more or less than the taught word it is for.

        The same of a label that is far from all taught words. None if there is nothing to know.
        """
        nearest, cleaned = self.nearest(embedding), clean_text(label)
        if cleaned in self.words:
            return None
        untaught = f"the model was not taught {one_line(label, limit=60)!r}, and"
        word, cosine = nearest[0]
        if cosine >= KNOWN_COSINE:
            taken = f"{untaught} takes it for {word!r} ({cosine:.2f})"
            if f" {word} " in f" {cleaned} ":
                return f"{taken}: it knows nouns, and not what is said of them"
            if f" {cleaned} " in f" {word} ":
                return f"{taken}, which may be less than you mean"
            return None
        named = ", ".join(f"{word} ({cosine:.2f})" for word, cosine in nearest)
        spelled = _spelled_like(cleaned, tuple(self.words))
        return (
            f"{untaught} may take it for something else; the nearest words that it knows: {named}"
            + "".join(f"; did you mean {word!r}?" for word in spelled)
        )


@lru_cache(maxsize=4096)
def _spelled_like(label: str, words: tuple[str, ...]) -> list[str]:
    """The word that is spelled most like a label, if one is: it takes milliseconds to find."""
    return get_close_matches(label, words, n=1, cutoff=_SPELLED_ALIKE)
