"""Nouns as class embeddings, and pictures ranked by them, in batches: CLIP's zero-shot classifier.

The public API embeds a label's 80 prompts at the full context length, one label at a time. That
suits an app with a few labels; for hundreds of nouns it takes most of a measurement's time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from benchmarks.quality.ranking import Rank
from samclip_sdk.modeling.text_encoder import TextEncoder
from samclip_sdk.text import normalize, read_templates
from training.teachers.captions import tokenize

_BATCH = 256  # prompts

Embed = Callable[[Tensor], Tensor]
"""Pictures, uint8 [B,3,S,S], to unit embeddings [B,E]."""


def embed_classes(text_encoder: TextEncoder, nouns: Sequence[str]) -> np.ndarray:
    """Embeds nouns as `SamClip.classify` does: the mean over the templates, normalised again.

    Args:
        text_encoder: in eval mode.
        nouns: K of them.

    Returns:
        float32 [K,E], unit length.
    """
    templates = read_templates()
    width = text_encoder.text_projection.shape[1]
    if not nouns:
        return np.empty((0, width), np.float32)
    ids = tokenize([template.replace("{}", noun) for noun in nouns for template in templates])
    lengths = (ids == text_encoder.eot_id).int().argmax(dim=1) + 1
    embeddings = torch.empty(len(ids), width)
    # Alike in length, since what follows the end-of-text token costs time and changes nothing.
    for rows in lengths.argsort(stable=True).split(_BATCH):
        with torch.inference_mode():
            embeddings[rows] = text_encoder(ids[rows, : int(lengths[rows].max())])
    return normalize(embeddings.reshape(len(nouns), len(templates), width).mean(dim=1).numpy())


def rank_pictures(embed: Embed, *, classes: np.ndarray) -> Rank:
    """Scores pictures by the cosine of their embedding with each of classes [K,E]."""

    def rank(images: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            embeddings = embed(torch.from_numpy(images).permute(0, 3, 1, 2))
        scores: np.ndarray = embeddings.numpy() @ classes.T
        return scores

    return rank
