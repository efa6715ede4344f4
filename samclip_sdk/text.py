"""Text -> token ids -> embeddings: CLIP's cleaning and tokenizer, prompt templates, caches."""

from __future__ import annotations

import html
import json
import os
import warnings
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import ftfy
import numpy as np
import tokenizers
from numpy.typing import NDArray

from samclip_sdk.errors import BundleError, TextError, TextTruncatedWarning
from samclip_sdk.session import Session

TEMPLATES = Path(__file__).with_name("assets") / "openai_templates.json"

_CACHED_TEXTS = 8192
_SHOWN_LETTERS = 40


def read_templates() -> tuple[str, ...]:
    """The 80 prompt templates with which OpenAI measured CLIP on ImageNet; {} is the label."""
    templates: list[str] = json.loads(TEMPLATES.read_text(encoding="utf-8"))
    return tuple(templates)


@lru_cache(maxsize=_CACHED_TEXTS)
def clean_text(text: str) -> str:
    """Cleans a text as CLIP does: mojibake, HTML entities (twice), whitespace, lower case."""
    text = html.unescape(html.unescape(ftfy.fix_text(text)))
    return " ".join(text.split()).lower()


class Tokenizer:
    """CLIP's tokenizer, from a bundle's `tokenizer.json`.

    The file pads and truncates to its context length; ids equal those of open_clip's
    SimpleTokenizer. One corner differs: the literal `<end_of_text>` or `<start_of_text>` right
    after a punctuation mark is a special token here, and punctuation there.

    Args:
        path: of the file.

    Raises:
        BundleError: it is missing, damaged, or has no fixed length.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        try:
            self._tokenizer = tokenizers.Tokenizer.from_str(Path(path).read_text(encoding="utf-8"))
        except Exception as error:  # `tokenizers` raises bare Exceptions.
            raise BundleError(f"the tokenizer {os.fspath(path)} cannot be read: {error}") from error
        truncation, padding = self._tokenizer.truncation, self._tokenizer.padding
        if not truncation or not padding or truncation["max_length"] != padding["length"]:
            raise BundleError(f"{os.fspath(path)} does not pad and truncate to a context length")
        self.context_length: int = truncation["max_length"]

    def __call__(self, texts: Sequence[str]) -> NDArray[np.int32]:
        """Tokenizes K texts.

        A text beyond the context length is cut before the end-of-text token, with a
        TextTruncatedWarning. An empty text is start and end alone.

        Args:
            texts: any number; each is cleaned first.

        Returns:
            int32 [K,L], L the context length, zeros behind the end-of-text token.
        """
        ids, too_long = self.encode(texts)
        for text, cut in zip(texts, too_long, strict=True):
            if cut:
                _warn_truncated(text, context_length=self.context_length)
        return ids

    def encode(self, texts: Sequence[str]) -> tuple[NDArray[np.int32], list[bool]]:
        """Tokenizes K texts without a warning: ids int32 [K,L], and which texts were cut."""
        encodings = [self._tokenizer.encode(clean_text(text)) for text in texts]
        ids = np.array([encoding.ids for encoding in encodings], dtype=np.int32)
        too_long = [bool(encoding.overflowing) for encoding in encodings]
        return ids.reshape(len(encodings), self.context_length), too_long


class TextEmbedder:
    """Texts and labels to unit embeddings, each computed once.

    A text or label goes through the text encoder on its own, so that its embedding never depends,
    to the last bit, on which others were asked or had been asked before.

    Args:
        session: the text_encoder.
        tokenizer: the same bundle's.
        templates: prompts of a label, {} in place of it.
    """

    def __init__(self, session: Session, *, tokenizer: Tokenizer, templates: Sequence[str]) -> None:
        self._session = session
        self._tokenizer = tokenizer
        self._templates = tuple(templates)
        self._text = lru_cache(maxsize=_CACHED_TEXTS)(self._embed_text)
        self._label = lru_cache(maxsize=_CACHED_TEXTS)(self._embed_label)

    def embed_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embeds texts as they are: captions, queries.

        Args:
            texts: K of them.

        Returns:
            float32 [K,E], unit length.

        Raises:
            TextError: no text, an empty one, or something else than strings.
        """
        return np.stack([self._text(text) for text in check_texts(texts)])

    def embed_labels(self, labels: Sequence[str]) -> NDArray[np.float32]:
        """Embeds labels: the mean of the normalised embeddings over the templates, renormalised.

        Args:
            labels: K names of classes.

        Returns:
            float32 [K,E], unit length.

        Raises:
            TextError: no label, an empty one, or something else than strings.
        """
        return np.stack([self._label(label) for label in check_texts(labels)])

    def _embed_text(self, text: str) -> NDArray[np.float32]:
        embedding: NDArray[np.float32] = self._run([text], named=text)[0]
        return embedding

    def _embed_label(self, label: str) -> NDArray[np.float32]:
        prompts = [template.replace("{}", label) for template in self._templates]
        mean: NDArray[np.float32] = self._run(prompts, named=label).mean(axis=0)
        return normalize(mean)

    def _run(self, texts: Sequence[str], *, named: str) -> NDArray[np.float32]:
        ids, too_long = self._tokenizer.encode(texts)
        if any(too_long):  # One warning for a label, not one for each of its templates.
            _warn_truncated(named, context_length=self._tokenizer.context_length)
        outputs = self._session.run({"input_ids": ids})
        return np.asarray(outputs["text_embeddings"], dtype=np.float32)


def check_texts(texts: Sequence[str]) -> tuple[str, ...]:
    """Returns the texts, or the one if a single string was given.

    Raises:
        TextError: none, an empty or blank one, or something else than strings.
    """
    checked = (texts,) if isinstance(texts, str) else tuple(texts)
    if not checked:
        raise TextError("there is no text: give at least one label")
    for index, text in enumerate(checked):
        if not isinstance(text, str):
            raise TextError(f"text {index} is a {type(text).__name__}, not a string")
        if not clean_text(text):
            raise TextError(f"text {index} is empty")
    return checked


def check_labels(labels: str | Sequence[str]) -> tuple[str, ...]:
    """The labels as a tuple; each names a class of its own.

    Raises:
        TextError: none, an empty one, or one twice.
    """
    checked = check_texts(labels)
    twice = [label for label, count in Counter(checked).items() if count > 1]
    if twice:
        raise TextError(f"the label {twice[0]!r} is there twice")
    return checked


def normalize(embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scales embeddings [...,E] to unit length; a length below 1e-6 counts as 1e-6."""
    length = np.linalg.norm(embeddings, axis=-1, keepdims=True)
    unit: NDArray[np.float32] = (embeddings / np.maximum(length, 1e-6)).astype(np.float32)
    return unit


def _warn_truncated(text: str, *, context_length: int) -> None:
    shown = repr(text if len(text) <= _SHOWN_LETTERS else f"{text[:_SHOWN_LETTERS]}...")
    warnings.warn(
        f"{shown} is longer than {context_length} tokens and was cut",
        TextTruncatedWarning,
        stacklevel=3,
    )
