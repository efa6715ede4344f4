"""The vocabulary of a small text encoder: those of MiniLM's word pieces that its texts need."""

from __future__ import annotations

import json
import string
from collections import Counter
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from training.errors import TrainingError

_CONTINUED = "##"
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_NEEDED = frozenset(
    (
        *_SPECIAL,
        *string.ascii_lowercase,
        *string.digits,
        *string.punctuation,
        *(_CONTINUED + letter for letter in string.ascii_lowercase + string.digits),
    )
)
"""The pieces that can spell any word in plain letters."""


def choose_word_pieces(tokenizer: Path, texts: Sequence[str], *, size: int) -> tuple[str, ...]:
    """The pieces to keep, in their order: letters, what texts use most, then common English.

    In a BERT's `tokenizer.json` pieces stand in the order of their frequency.

    Raises:
        TrainingError: the vocabulary is smaller than `size`, or `size` has no room for the letters.
    """
    reader = Tokenizer.from_file(str(tokenizer))
    reader.no_padding()
    reader.no_truncation()
    pieces = _in_order(reader.get_vocab())
    needed = [piece for piece in pieces if piece in _NEEDED]
    if not len(needed) <= size <= len(pieces):
        raise TrainingError(
            f"a vocabulary of {size} word pieces cannot be made of {tokenizer}: it takes from "
            f"{len(needed)} to {len(pieces)}"
        )
    if size == len(pieces):
        return tuple(pieces)
    counts = Counter(chain.from_iterable(each.tokens for each in reader.encode_batch(list(texts))))
    # Of those that occur as often, the sort leaves the more common ones before.
    others = sorted(
        (piece for piece in pieces if piece not in _NEEDED and _is_plain(piece)),
        key=lambda piece: -counts[piece],
    )
    kept = {*needed, *others[: size - len(needed)]}
    return tuple(piece for piece in pieces if piece in kept)


def shrink_tokenizer(content: str, pieces: Sequence[str]) -> str:
    """A `tokenizer.json` with some of its word pieces, whose ids are their indices in `pieces`."""
    changed: dict[str, Any] = json.loads(content)
    ids = {piece: index for index, piece in enumerate(pieces)}
    changed["model"]["vocab"] = ids
    for token in changed["added_tokens"]:
        token["id"] = ids[token["content"]]
    for special in changed["post_processor"]["special_tokens"].values():
        special["ids"] = [ids[token] for token in special["tokens"]]
    shrunk: str = Tokenizer.from_str(json.dumps(changed)).to_str()
    return shrunk


def ids_of(pieces: Sequence[str], tokenizer: Path) -> list[int]:
    """The ids of word pieces in another `tokenizer.json`; raises TrainingError if it lacks one."""
    known = Tokenizer.from_file(str(tokenizer)).get_vocab()
    missing = [piece for piece in pieces if piece not in known]
    if missing:
        raise TrainingError(
            f"{tokenizer} has {len(missing)} word pieces less, such as {missing[0]!r}: what was "
            "trained with it cannot go on with more"
        )
    return [known[piece] for piece in pieces]


def read_pieces(tokenizer: Path) -> tuple[str, ...]:
    """The word pieces of a `tokenizer.json`, by their ids."""
    return tuple(_in_order(Tokenizer.from_file(str(tokenizer)).get_vocab()))


def _in_order(vocabulary: dict[str, int]) -> list[str]:
    return sorted(vocabulary, key=lambda piece: vocabulary[piece])


def _is_plain(piece: str) -> bool:
    """Returns whether cleaned English can contain a piece; BERT also has unused places."""
    return piece.isascii() and not piece.startswith("[unused")
