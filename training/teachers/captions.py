"""Captions for the small CLIP: nouns and synonyms in CLIP's templates, as token ids."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from open_clip import OPENAI_IMAGENET_TEMPLATES
from open_clip.tokenizer import SimpleTokenizer
from torch import Tensor

from training.composed.corpus import CORPUS
from training.composed.vocabulary import Noun

EMPTY_NAMES = ("nothing", "an empty background", "empty scenery", "a plain texture")
"""Captions of images with no object in them: one noun more."""


class Captions:
    """Draws captions, and sentence embeddings that say where texts belong.

    The sentence embeddings are MiniLM's of the corpus's names, centred and reduced by PCA to
    `embed_dim` dimensions.
    """

    def __init__(self, nouns: tuple[Noun, ...], *, embed_dim: int) -> None:
        self.names = [noun.names for noun in nouns] + [EMPTY_NAMES]
        stored = np.load(CORPUS / "minilm_text.npz", allow_pickle=False)
        self._texts = [str(text) for text in stored["texts"]]
        self._sentences = _reduce(stored["bare"].astype(np.float32), embed_dim)
        self._row = {text: row for row, text in enumerate(self._texts)}

    def draw(self, rng: np.random.Generator, *, extra: int) -> tuple[Tensor, Tensor, Tensor]:
        """Draws one caption a noun and `extra` more of any name in the corpus.

        Returns:
            ids int64 [N+extra,L], the sentence embeddings [N+extra,E] that they should be near,
            and a mask bool [N+extra] of those that have one.
        """
        names = [
            pool[0] if rng.random() < 0.6 else pool[rng.integers(len(pool))] for pool in self.names
        ]
        names += [self._texts[row] for row in rng.integers(len(self._texts), size=extra)]
        captions = [self._caption(name, rng) for name in names]
        rows = [self._row.get(name, -1) for name in names]
        return (
            tokenize(captions),
            torch.from_numpy(self._sentences[rows]),
            torch.tensor(rows) >= 0,
        )

    def photos(self) -> list[str]:
        """The plainest caption of each noun."""
        return [f"a photo of a {pool[0]}." for pool in self.names[:-1]]

    def _caption(self, name: str, rng: np.random.Generator) -> str:
        if rng.random() < 0.25:
            return name
        template = OPENAI_IMAGENET_TEMPLATES[rng.integers(len(OPENAI_IMAGENET_TEMPLATES))]
        return str(template(name))


def tokenize(texts: list[str]) -> Tensor:
    """Ids int64 [K,L]; L is the longest text's, since nothing after it has any influence."""
    ids: Tensor = _tokenizer()(texts)
    return ids[:, : int((ids != 0).sum(dim=1).max())]


@cache
def _tokenizer() -> SimpleTokenizer:
    return SimpleTokenizer()


def _reduce(embeddings: np.ndarray, dim: int) -> np.ndarray:
    """Centres embeddings [M,D], keeps the `dim` strongest directions, normalises: [M,dim]."""
    centred = embeddings - embeddings.mean(axis=0)
    directions = np.linalg.svd(centred, full_matrices=False)[2][:dim]
    reduced = centred @ directions.T
    unit: np.ndarray = reduced / np.linalg.norm(reduced, axis=1, keepdims=True)
    return unit
