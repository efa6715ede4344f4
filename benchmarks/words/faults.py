"""What is wrong with a reading, as two readers judge, and how often: the rules of the counts.

An answer is a reading as a taught word, the same or read as. A word that one of the two readers
lists is right, so that what they disagree on is no fault.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Literal, NamedTuple, get_args

from benchmarks.words.everyday import EverydayWord
from samclip_sdk.text.word_table import Kind, Reading

Fault = Literal["wrong", "partly_wrong", "silent", "lost", "none_answered"]

KINDS: tuple[Kind, ...] = get_args(Kind)
FAULTS: tuple[Fault, ...] = get_args(Fault)


class Share(NamedTuple):
    """So many of how many."""

    count: int
    of: int


def faults_of(word: EverydayWord, reading: Reading, *, taught: Collection[str]) -> list[Fault]:
    """What is wrong with a reading.

    "wrong": a word answers that neither reader lists, or of several more than half are such;
    "partly_wrong": of several one is such, and no more than half. "silent": the reading is told as
    taught or the same, and no reader lists its word as the same; one that is taught itself is the
    same unless both leave it out altogether. "lost": it is not known though it is taught, or both
    readers list a word as the same. "none_answered": a word answers though both readers say that
    none may.
    """
    could = has_same(word, taught=taught)
    if reading.kind == "unknown":
        return ["lost"] if could else []
    found: list[Fault] = []
    outside = sum(each not in word.listed for each in reading.words)
    if outside:
        found.append("wrong" if 2 * outside > len(reading.words) else "partly_wrong")
    if not reading.told and not any(_is_same(word, each) for each in reading.words):
        found.append("silent")
    if word.none:
        found.append("none_answered")
    return found


def has_same(word: EverydayWord, *, taught: Collection[str]) -> bool:
    """Whether a taught word is the same beyond doubt: it is itself, or both readers list it."""
    first, second = (frozenset(each.same) for each in word.readers)
    return word.word in taught or bool(first & second)


def count(
    words: Sequence[EverydayWord], readings: Mapping[str, Reading], *, taught: Collection[str]
) -> dict[str, Share]:
    """How many readings are of each kind and have each fault, of how many that could.

    Wrong can be what is answered, silent what is told as taught or the same, lost what has a taught
    word that is the same, and answered wrongly for none what both readers say that of.
    """
    read = [readings[each.word] for each in words]
    kinds = Counter(each.kind for each in read)
    pairs = zip(words, read, strict=True)
    found = Counter(fault for word, own in pairs for fault in faults_of(word, own, taught=taught))
    answered = len(words) - kinds["unknown"]
    could = {
        "wrong": answered,
        "partly_wrong": answered,
        "silent": kinds["taught"] + kinds["same"],
        "lost": sum(has_same(each, taught=taught) for each in words),
        "none_answered": sum(each.none for each in words),
    }
    shares = {kind: Share(kinds[kind], len(words)) for kind in KINDS}
    return shares | {fault: Share(found[fault], could[fault]) for fault in FAULTS}


def _is_same(word: EverydayWord, answer: str) -> bool:
    return answer in word.same or (answer == word.word and answer in word.listed)
