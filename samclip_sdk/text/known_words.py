"""The words that a model was taught, and how near any other text is to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from samclip_sdk.errors import UnknownWordWarning, one_line
from samclip_sdk.system.user_warning import warn_user
from samclip_sdk.text.tokenizer import clean_text

KNOWN_COSINE = 0.75
"""From this cosine on, a text says as much to the model as the taught word that is nearest: plurals
(cars and car, .94) and synonyms (couch and sofa, .85) are above it in samclip-mobile, and "red car"
(.72) and "man" (mantid, .51) below."""

_NEAREST = 3


@dataclass(frozen=True)
class KnownWords:
    """The words that pictures taught a model.

    Attributes:
        words: K nouns.
        embeddings: float32 [K,E], unit length.
    """

    words: Sequence[str]
    embeddings: NDArray[np.float32]

    def nearest(
        self, embedding: NDArray[np.float32], *, count: int = _NEAREST
    ) -> list[tuple[str, float]]:
        """The words that are nearest to an embedding [E], the nearest first, with their cosines."""
        cosines = self.embeddings @ embedding
        order = np.argsort(-cosines, kind="stable")[:count].tolist()
        return [(self.words[place], float(cosines[place])) for place in order]

    def warn_if_unknown(self, label: str, embedding: NDArray[np.float32]) -> None:
        """Warns of a label that is no taught word, nor near one."""
        nearest = self.nearest(embedding)
        if nearest[0][1] >= KNOWN_COSINE or clean_text(label) in self.words:
            return
        named = ", ".join(f"{word} ({cosine:.2f})" for word, cosine in nearest)
        warn_user(
            f"the model was not taught {one_line(label, limit=60)!r}, and may take it for "
            f"something else; the nearest words that it knows: {named}",
            UnknownWordWarning,
        )
