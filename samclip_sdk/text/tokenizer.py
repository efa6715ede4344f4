"""Texts -> token ids: checks of texts and labels, CLIP's cleaning, a bundle's tokenizer."""

from __future__ import annotations

import html
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import tokenizers
from numpy.typing import NDArray

from samclip_sdk.errors import BundleError, TextError, TextTruncatedWarning, one_line
from samclip_sdk.modeling.config import BertTextConfig, TextEncoderConfig
from samclip_sdk.system.user_warning import warn_user
from samclip_sdk.text.tokenizer_file import is_refusal, open_tokenizer

CLIP_TOKENIZER = Path(__file__).with_name("clip_tokenizer.json")
TEMPLATES = Path(__file__).with_name("openai_templates.json")

MAX_LETTERS = 4096
"""A text is cut after so many letters before anything else. CLIP's context holds 75 tokens, and the
longest token of its vocabulary has 24 letters."""

_SHORT, _CACHED_SHORT = 256, 8192  # letters, and texts of at most so many letters: 16 MB
_SHOWN_LETTERS = 40
_LARGEST_ID = np.iinfo(np.int32).max


def label_templates(text_encoder: TextEncoderConfig) -> tuple[str, ...]:
    """The prompt templates of a text encoder; {} stands for the label.

    CLIP's are the 80 with which OpenAI measured it on ImageNet; the config of a BERT has its own.
    """
    if isinstance(text_encoder, BertTextConfig):
        return text_encoder.templates
    return read_templates()


def read_templates() -> tuple[str, ...]:
    """The 80 prompt templates with which OpenAI measured CLIP on ImageNet; {} is the label."""
    templates: list[str] = json.loads(TEMPLATES.read_text(encoding="utf-8"))
    return tuple(templates)


def clean_text(text: str) -> str:
    """Cleans a text as CLIP does: mojibake, HTML entities (twice), whitespace, lower case.

    Every text is cleaned so, for any tokenizer; all other steps are in its `tokenizer.json`.
    Letters after the first `MAX_LETTERS` are left out.
    """
    return _clean_short(text) if len(text) <= _SHORT else _clean(text[:MAX_LETTERS])


def _clean(text: str) -> str:
    if not (text.isascii() and text.isprintable()) or "&" in text:
        import ftfy  # only here: it takes 9 MB, and changes few labels

        text = html.unescape(html.unescape(ftfy.fix_text(text)))
    return " ".join(text.split()).lower()


_clean_short = lru_cache(maxsize=_CACHED_SHORT)(_clean)


@dataclass(frozen=True)
class TokenIds:
    """Tokenized texts.

    Attributes:
        ids: int32 [K,L], L the context length, zeros after the last token.
        lengths: int64 [K], the number of ids of each text before the zeros.
        cut: bool [K], which texts were too long.
    """

    ids: NDArray[np.int32]
    lengths: NDArray[np.int64]
    cut: NDArray[np.bool_]


class Tokenizer:
    """A bundle's tokenizer, from its `tokenizer.json`: CLIP's BPE, or BERT's WordPiece.

    The file pads and truncates to its context length; ids of cleaned text equal those of
    open_clip's SimpleTokenizer, or of transformers' BertTokenizer. One corner differs: the
    text of a special token, such as CLIP's `<end_of_text>`, right after a punctuation mark is that
    token here, and punctuation there.

    Args:
        path: the file.
        context_length: the context length of its model.

    Attributes:
        context_length: the same.

    Raises:
        BundleError: the file is missing, damaged or beyond the limits of `open_tokenizer`.
    """

    def __init__(self, path: str | os.PathLike[str], *, context_length: int) -> None:
        self._tokenizer = open_tokenizer(path, context_length=context_length)
        self.context_length = context_length
        self._path = path

    def __call__(self, texts: Sequence[str]) -> NDArray[np.int32]:
        """Tokenizes K texts.

        A text beyond the context length is cut before the last token, which marks its end, with
        a TextTruncatedWarning. An empty text has the start and end token alone.

        Args:
            texts: any number; each is cleaned first.

        Returns:
            int32 [K,L], L the context length, zeros after the last token.

        Raises:
            BundleError: the file has no token for a text and none for unknown words, or an id
                beyond int32.
        """
        encoded = self.encode(texts)
        for text, cut in zip(texts, encoded.cut, strict=True):
            if cut:
                self.warn_of_cut(text)
        return encoded.ids

    def encode(self, texts: Sequence[str]) -> TokenIds:
        """Tokenizes K texts without a warning; see `__call__` for errors."""
        found = [self._encode(text) for text in texts]
        return TokenIds(
            np.array([each.ids for each in found], np.int32).reshape(-1, self.context_length),
            lengths=np.array([sum(each.attention_mask) for each in found], dtype=np.int64),
            cut=np.array(
                [
                    bool(each.overflowing) or len(text) > MAX_LETTERS
                    for each, text in zip(found, texts, strict=True)
                ],
                dtype=bool,
            ),
        )

    def _encode(self, text: str) -> tokenizers.Encoding:
        """Encodes a text. A file that loads may still have no token for unknown words."""
        cleaned = clean_text(text)
        try:
            encoding = self._tokenizer.encode(cleaned)
            if max(encoding.ids) > _LARGEST_ID:
                raise ValueError(f"the id {max(encoding.ids)} is beyond int32")
        except BaseException as error:
            if not is_refusal(error):
                raise
            name = one_line(os.fspath(self._path))
            raise BundleError(
                f"the tokenizer {name} cannot read {_shown(text)}: {one_line(error)}"
            ) from error
        return encoding

    def warn_of_cut(self, text: str) -> None:
        """Warns that a text is longer than the context length."""
        warn_user(
            f"{_shown(text)} is longer than {self.context_length} tokens and was cut",
            TextTruncatedWarning,
        )


def cut_to_context(path: Path, *, context_length: int) -> str:
    """A `tokenizer.json` that pads with zeros and truncates to a context length, as bundles' do.

    Args:
        path: of one that pads or truncates otherwise, such as a model's own.
        context_length: ids of a text, with those of start and end.

    Returns:
        The content of the file.

    Raises:
        BundleError: `path` cannot be read.
    """
    try:
        found = tokenizers.Tokenizer.from_str(path.read_text(encoding="utf-8"))
    except Exception as error:  # `tokenizers` raises bare Exceptions.
        raise BundleError(f"the tokenizer {path} cannot be read: {error}") from error
    found.enable_truncation(context_length)
    found.enable_padding(length=context_length, pad_id=0, pad_token=found.id_to_token(0))
    content: str = found.to_str()
    return content


def check_texts(texts: Sequence[str], *, noun: str = "text") -> tuple[str, ...]:
    """Returns the texts as a tuple; a single string is one text.

    Args:
        texts: any texts.
        noun: what a text is to who gave it.

    Raises:
        TextError: there is no text, a text is empty or blank, or one is no string.
    """
    try:
        checked = (texts,) if isinstance(texts, str) else tuple(texts)
    except TypeError as error:
        raise TextError(
            f"labels must be a string or a list of strings, not a {type(texts).__name__}"
        ) from error
    if not checked:
        raise TextError("no text was given: give at least one label")
    for index, text in enumerate(checked):
        if not isinstance(text, str):
            raise TextError(f"{noun} {index} is not a string but {type(text).__name__}")
        problem = _problem(text)
        if problem:
            raise TextError(f"{noun} {index} {problem}")
    return checked


def check_labels(labels: str | Sequence[str], *, max_labels: int | None = None) -> tuple[str, ...]:
    """Returns the labels as a tuple; each names a class of its own.

    Args:
        labels: names of classes; a single string is one label.
        max_labels: the most labels that are allowed.

    Raises:
        TextError: there is no label, an empty one, one with a comma, two that are the same to CLIP,
            or too many.
    """
    checked = check_texts(labels, noun="label")
    for label in checked:
        if "," in label:
            raise TextError(
                f"the label {_shown(label)} has a comma: give each label as a string of its own"
            )
    if max_labels is not None and len(checked) > max_labels:
        raise TextError(
            f"there are {len(checked)} labels; give at most {max_labels}, in several calls"
        )
    indices: dict[str, int] = {}
    for index, label in enumerate(checked):
        first = indices.setdefault(clean_text(label), index)
        if first != index:
            raise TextError(_twice(checked[first], label))
    return checked


def _problem(text: str) -> str:
    """The fault of a text; empty if there is none."""
    if "\0" in text:
        return f"holds a NUL character: {_shown(text)}"
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return f"is no Unicode, since it holds half of a surrogate pair: {_shown(text)}"
    return "" if clean_text(text) else "is empty"


def _twice(first: str, second: str) -> str:
    if first == second:
        return f"the label {_shown(first)} is there twice"
    both = f"the labels {_shown(first)} and {_shown(second)}"
    return f"{both} are the same: case and spaces do not count"


def _shown(text: str) -> str:
    """The form of a text in a message."""
    return repr(text if len(text) <= _SHOWN_LETTERS else f"{text[:_SHOWN_LETTERS]}...")
