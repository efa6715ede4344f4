"""The commonest concrete nouns of WordNet, and plurals."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from tokenizers import Tokenizer

from samclip_sdk.bundle.manifest import TOKENIZER_NAME
from training.text.senses import Senses
from training.text.sentences import sentence_folder

_PIECE = 8000.0  # places of the vocabulary that each further word piece of a name costs
_PROPER = 4.0  # times as rare is a noun that is a proper name as well, and was never counted
_GRAMMAR = frozenset({"may", "might", "must", "will", "shall", "ought"})
"""Verbs that WordNet has as nouns alone."""

_S_ENDINGS = ("s", "x", "z", "ch", "sh")
_VOWELS = "aeiou"


def minilm_pieces(name: str) -> list[int]:
    """The ids of a name's word pieces in MiniLM's vocabulary; raises like `sentence_folder`."""
    ids: list[int] = _tokenizer(sentence_folder()).encode(name, add_special_tokens=False).ids
    return ids


@lru_cache(maxsize=1)
def _tokenizer(folder: Path) -> Tokenizer:
    tokenizer = Tokenizer.from_file(str(folder / TOKENIZER_NAME))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def common_nouns(
    senses: Senses, *, count: int, pieces: Callable[[str], Sequence[int]] = minilm_pieces
) -> tuple[str, ...]:
    """The commonest nouns that mean what a photograph can show, the commonest first.

    How common a noun is tell three numbers: the place of its rarest word piece in the vocabulary of
    a BERT, which is in the order of frequency, with something for each further piece; how often
    WordNet counted a sense of the noun that can be seen; and which share that is of all uses of the
    word.
    """
    costs = {name: noun_cost(senses, name, pieces(name)) for name in _candidates(senses)}
    return tuple(sorted(costs, key=lambda name: (costs[name], name))[:count])


def _candidates(senses: Senses) -> Iterator[str]:
    """Yields nouns in lower case with a sense that can be seen."""
    shown = (each for each in senses.wordnet.synsets.values() if senses.is_visible(each.offset))
    for name in dict.fromkeys(name for each in shown for name in each.names):
        spelled = all(letter.isalpha() or letter in " -'" for letter in name)
        if name == name.lower() and spelled and name not in _GRAMMAR and len(name) > 1:
            yield name


def noun_cost(senses: Senses, name: str, ids: Sequence[int]) -> float:
    """How rare a noun is, by the ids of its word pieces; see `common_nouns`."""
    seen, share, is_proper = senses.uses(name)
    index = max(ids) + _PIECE * (len(ids) - 1)
    rare = _PROPER if is_proper and not seen else 1.0
    return index * rare / share / (1 + math.log1p(seen))


def plural_of(name: str, *, irregular: Mapping[str, str]) -> str | None:
    """The plural of a noun, of the last of its words; none if that looks like one already."""
    first, space, last = name.rpartition(" ")
    if last.endswith("man") and last != "human":
        return f"{name[:-3]}men"
    if found := irregular.get(last):
        return f"{first}{space}{found}"
    if last.endswith("s") and not last.endswith(("ss", "us", "is")):
        return None
    if last.endswith(_S_ENDINGS):
        return f"{name}es"
    if last.endswith("y") and last[-2:-1] not in _VOWELS:
        return f"{name[:-1]}ies"
    return f"{name}s"
