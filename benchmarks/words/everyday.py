"""The committed list of everyday words, each as two readers judged it blind, and what was before.

Of each word the readers tell which taught words mean the same, and which may answer for it though
they say more or less; or that none may.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Literal, get_args

from pydantic import TypeAdapter

from samclip_sdk.system.records import Record
from samclip_sdk.text.word_table import Kind, Reading

Half = Literal["seen", "aside"]
WordKind = Literal["noun", "compound"]
HALVES: tuple[Half, ...] = get_args(Half)

LIST = Path(__file__).with_name("everyday.json")
READ_BEFORE = Path(__file__).with_name("before.json")
BEFORE = "d6f029da"
"""The commit whose readings are in `before.json`: the last one without a table of words."""

COMMON_BEFORE = {"taught": 230, "same": 834, "read_as": 77, "unknown": 859}
"""Of the 2,000 commonest nouns, what that model read, by kind."""


class Judgement(Record):
    """What one reader says of a word: lists of taught words, both empty if none may answer."""

    same: tuple[str, ...] = ()
    acceptable: tuple[str, ...] = ()
    none: bool = False
    comment: str = ""

    @property
    def listed(self) -> frozenset[str]:
        """The words that may answer."""
        return frozenset((*self.same, *self.acceptable))


class EverydayWord(Record):
    """A word, of which topic and half it is, and what two readers say of it."""

    word: str
    topic: str
    kind: WordKind
    half: Half
    readers: tuple[Judgement, Judgement]

    @cached_property
    def same(self) -> frozenset[str]:
        """The taught words that a reader says mean the same."""
        return frozenset(word for each in self.readers for word in each.same)

    @cached_property
    def listed(self) -> frozenset[str]:
        """The taught words that may answer, as a reader says."""
        return self.readers[0].listed | self.readers[1].listed

    @property
    def none(self) -> bool:
        """Whether both readers say that no taught word may answer."""
        return all(each.none for each in self.readers)

    @property
    def differ(self) -> bool:
        """Whether the readers disagree: on what is the same, on what may answer, or on none."""
        kept: list[Callable[[Judgement], object]] = [
            lambda each: frozenset(each.same),
            lambda each: each.listed,
            lambda each: each.none,
        ]
        return any(len({get(each) for each in self.readers}) > 1 for get in kept)


class ReadBefore(Record):
    """What the model of `BEFORE` read a word as."""

    word: str
    kind: Kind
    words: tuple[str, ...]
    cosine: float | None = None


def read_everyday(path: Path = LIST) -> tuple[EverydayWord, ...]:
    """Reads a list of words; by default the committed one that has two halves."""
    return TypeAdapter(tuple[EverydayWord, ...]).validate_json(path.read_bytes())


def read_before() -> dict[str, Reading]:
    """Reads what the model of `BEFORE` read, by word."""
    found = TypeAdapter(tuple[ReadBefore, ...]).validate_json(READ_BEFORE.read_bytes())
    return {each.word: Reading(each.kind, each.words, each.cosine) for each in found}


def of_halves(words: Sequence[EverydayWord], halves: Sequence[str]) -> list[EverydayWord]:
    """The words of some halves."""
    return [each for each in words if each.half in halves]
