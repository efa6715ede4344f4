"""The words that a model was taught, and what it takes any other text for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from samclip_sdk.text.tokenizer import clean_text
from samclip_sdk.text.word_table import Reading, WordReader, WordTable

_NEAREST = 3
_SPELLED_ALIKE = 0.8  # difflib's ratio: persn and person .91, okra and opera .67


@dataclass(frozen=True)
class KnownWords:
    """The words that images taught a model.

    Attributes:
        words: K nouns, clean.
        embeddings: float32 [K,E], unit length.
        thresholds: for each word, 0..1, the presence from which it is in an image; None for the
            bundle's.
        table: opens the table of what other texts mean, when there is a first one; None if the
            bundle has none, and each text speaks for itself.
    """

    words: Sequence[str]
    embeddings: NDArray[np.float32]
    thresholds: Sequence[float | None] = ()
    table: Callable[[], WordTable] | None = None

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
        return [(self.words[index], float(cosines[index])) for index in order]

    def read(self, label: str) -> Reading | None:
        """What the model takes a clean label for by its table; None if it is not known."""
        if label in self._indices:
            return Reading("taught", (label,))
        return self._reader.read(label)

    def unknown(self, embedding: NDArray[np.float32]) -> Reading:
        """The reading of a label that is not known, by its own embedding [E]."""
        ((word, cosine),) = self.nearest(embedding, count=1)
        return Reading("unknown", (word,), cosine)

    def spelled_like(self, label: str) -> str | None:
        """The word that is spelled most like a clean label, if one is."""
        return next(iter(_spelled_like(label, tuple(self.words))), None)

    @cached_property
    def _indices(self) -> Mapping[str, int]:
        return {word: index for index, word in enumerate(self.words)}

    @cached_property
    def _reader(self) -> WordReader:
        assert self.table is not None
        return WordReader(self.table(), self.words)


@lru_cache(maxsize=4096)
def _spelled_like(label: str, words: tuple[str, ...]) -> list[str]:
    """The word that is spelled most like a label, if one is: it takes milliseconds to find."""
    return get_close_matches(label, words, n=1, cutoff=_SPELLED_ALIKE)
