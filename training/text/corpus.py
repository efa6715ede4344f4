"""The texts that a text encoder learns from, with MiniLM's sentences of them, computed once."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from pydantic import Field
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from tokenizers import Tokenizer
from torch import Tensor

from samclip_sdk.system.atomic_file import atomic_file
from samclip_sdk.system.progress import OnProgress, no_progress
from training.data_config import Settings
from training.loop.train import computes_in_bf16
from training.text.phrases import Phrases, draw_phrases, read_captions
from training.text.sentences import SentenceEncoder, sentence_folder
from training.text.wordnet import WORDNET, WordNet

SENTENCES_NAME = "sentences.safetensors"

_FINGERPRINT = "texts"


class Corpus(Settings):
    """Texts from WordNet.

    Args:
        captions: a text file with one caption in each line, for a tenth of the texts.
        count: texts to learn from.
        held_out: texts to measure on.
    """

    wordnet: Path = WORDNET
    captions: Path | None = None
    count: int = Field(default=240_000, gt=0)
    held_out: int = Field(default=20_000, gt=0)
    seed: int = 0


def read_corpus(
    settings: Corpus, stored: Path, *, on_progress: OnProgress = no_progress
) -> tuple[Phrases, dict[str, Tensor]]:
    """Draws the texts; their sentences come from `stored`, or are computed and kept there.

    The sentences are MiniLM's of the texts `learned` and `held_out`: float16 [N,384], unit length.
    """
    vocabulary = Tokenizer.from_file(str(sentence_folder() / "tokenizer.json")).get_vocab()
    phrases = draw_phrases(
        WordNet(settings.wordnet),
        common=vocabulary.keys(),
        count=settings.count,
        held_out=settings.held_out,
        seed=settings.seed,
        captions=read_captions(settings.captions) if settings.captions else (),
    )
    texts = "\n".join((*phrases.learned, "", *phrases.held_out))
    fingerprint = hashlib.sha256(texts.encode()).hexdigest()
    found = _read(stored, fingerprint=fingerprint)
    if found is None:
        encode = SentenceEncoder()
        # Its cosine with fp32 is .99999, in half the time.
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=computes_in_bf16("cpu")):
            found = {
                "held_out": encode(phrases.held_out, on_progress=on_progress).half(),
                "learned": encode(phrases.learned, on_progress=on_progress).half(),
            }
        with atomic_file(stored) as file:
            file.write(save(found, metadata={_FINGERPRINT: fingerprint}))
    return phrases, found


def _read(stored: Path, *, fingerprint: str) -> dict[str, Tensor] | None:
    """Returns the stored sentences of these texts, if they exist and are whole."""
    try:
        with safe_open(stored, framework="pt") as file:
            if (file.metadata() or {}).get(_FINGERPRINT) != fingerprint:
                return None
            return {name: file.get_tensor(name) for name in ("learned", "held_out")}
    except (OSError, SafetensorError):
        return None
