"""Opens a `tokenizer.json` within limits, so that no file makes a text grow without end.

Such a file is a small program: it may add to a text wherever a pattern fits, and pad it to any
length. `tokenizers` is written in Rust, where a lack of memory ends the process, and a panic is no
`Exception`.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import tokenizers

from samclip_sdk.errors import BundleError, one_line

CLIP_WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|\p{L}+|\p{N}|[^\s\p{L}\p{N}\x{345}]+"
"""open_clip's pattern of words. It ignores case throughout, and so skips one mark: U+0345, the iota
subscript, is no letter but its capital is."""

_PATTERNS = (
    CLIP_WORDS,
    r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+",  # transformers' CLIP
    r"\s+",
)
"""The only patterns: one such as (a+)+$ takes a time that doubles with each letter."""

_PARTS = {
    *("Lowercase", "NFC", "NFD", "NFKC", "NFKD", "Strip", "StripAccents", "BertNormalizer"),
    *("BertPreTokenizer", "Whitespace", "WhitespaceSplit", "Punctuation", "Digits"),
    *("ByteLevel", "Split", "Replace"),
}
"""The allowed parts: each makes a text a few times as long, at most."""

_MAX_PARTS = 8
_MAX_BYTES = 32 << 20


def open_tokenizer(path: str | os.PathLike[str], *, context_length: int) -> tokenizers.Tokenizer:
    """Opens a tokenizer of CLIP's kind or BERT's.

    Args:
        path: its `tokenizer.json`.
        context_length: the length to which it must truncate, and pad with zeros.

    Raises:
        BundleError: the file is missing, damaged or too large, has another length, or has parts
            that neither kind has.
    """
    name = one_line(os.fspath(path))
    try:
        with Path(path).open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
        if len(content) > _MAX_BYTES:
            raise ValueError(f"it has more than {_MAX_BYTES} bytes")
        found = tokenizers.Tokenizer.from_str(content.decode("utf-8"))
    except BaseException as error:
        if not is_refusal(error):
            raise
        raise BundleError(f"the tokenizer {name} cannot be read: {one_line(error)}") from error
    _check_length(found, context_length=context_length, name=name)
    for component in (found.normalizer, found.pre_tokenizer):
        _check_parts(component, name=name)
    return found


def is_refusal(error: BaseException) -> bool:
    """Whether an error is a refusal of `tokenizers`: a bare Exception, or a panic of Rust."""
    return isinstance(error, Exception) or type(error).__name__ == "PanicException"


def _check_length(found: tokenizers.Tokenizer, *, context_length: int, name: str) -> None:
    padding = found.padding or {}
    expected = {"length": context_length, "pad_id": 0, "direction": "right"}
    pads = all(padding.get(key) == value for key, value in expected.items())
    truncates = (found.truncation or {}).get("max_length") == context_length
    if not pads or not truncates or padding.get("pad_to_multiple_of") is not None:
        raise BundleError(
            f"the tokenizer {name} does not truncate to the {context_length} tokens that its "
            "model takes, and pad with zeros to as many"
        )
    special = found.num_special_tokens_to_add(False)
    if special >= context_length:
        raise BundleError(
            f"the tokenizer {name} adds {special} tokens of its own to a text, which leaves no "
            f"room in {context_length}"
        )


def _check_parts(component: Any, *, name: str) -> None:
    """Checks a normalizer or a pre-tokenizer and all of its parts."""
    # Compared with None: a Sequence of tokenizers 0.20 has a length of 0, and so counts as false.
    parts = [] if component is None else _parts(json.loads(component.__getstate__()))
    if len(parts) > _MAX_PARTS:
        raise BundleError(
            f"the tokenizer {name} has {len(parts)} steps in a row; at most {_MAX_PARTS} are "
            "supported"
        )
    for part in parts:
        if part["type"] not in _PARTS:
            raise BundleError(
                f"the tokenizer {name} has a {one_line(part['type'])}: one of CLIP's kind or "
                "BERT's has none"
            )
        pattern = part.get("pattern", {}).get("Regex", CLIP_WORDS)
        if pattern not in _PATTERNS:
            raise BundleError(
                f"the tokenizer {name} looks for {one_line(pattern)}: no patterns but CLIP's are "
                "known to end soon"
            )
        if len(part.get("content", "").encode()) > 1:
            raise BundleError(
                f"the tokenizer {name} puts {one_line(part['content'])} in the place of what it "
                "finds: one letter of ASCII is the most"
            )


def _parts(state: dict[str, Any]) -> list[dict[str, Any]]:
    """The parts of a component: those of a sequence and its inner ones, or the component itself."""
    inner = state.get("normalizers", []) + state.get("pretokenizers", [])
    return [part for each in inner for part in _parts(each)] if inner else [state]
