"""What is wrong with a reading, by two readers' judgements, and how it is counted."""

from __future__ import annotations

import pytest

from benchmarks.words.everyday import EverydayWord
from benchmarks.words.faults import Share, count, faults_of
from samclip_sdk.text.word_table import Reading
from tests.benchmarks.words.everyday_words import NONE, judged

TAUGHT = ("dog", "crane", "cup", "mug", "bowl", "hat")
COUCH = judged("couch", (["sofa"], ["bench"]))
CUP = judged("beaker", ((), ["cup"]), ((), ["mug"]))
UNSURE = judged("cap", (["hat"], ()), NONE)
STRIPES = judged("barcode", NONE)


def read(kind: str, *words: str) -> Reading:
    return Reading(kind, words, 0.5 if kind == "unknown" else None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("word", "reading", "faults"),
    [
        # of words with a same one
        (COUCH, read("same", "sofa"), []),
        (COUCH, read("read_as", "bench"), []),
        (COUCH, read("same", "bench"), ["silent"]),
        (COUCH, read("same", "hat"), ["wrong", "silent"]),
        (COUCH, read("read_as", "hat"), ["wrong"]),
        (COUCH, read("unknown", "sofa"), ["lost"]),
        # what one reader lists is right; what is the same beyond doubt both list
        (CUP, read("read_as", "mug"), []),
        (CUP, read("unknown", "mug"), []),
        (UNSURE, read("same", "hat"), []),
        (UNSURE, read("unknown", "hat"), []),
        # several words
        (CUP, read("read_as", "cup", "mug"), []),
        (CUP, read("read_as", "cup", "mug", "bowl"), ["partly_wrong"]),
        (CUP, read("read_as", "cup", "bowl"), ["partly_wrong"]),
        (CUP, read("read_as", "cup", "bowl", "hat"), ["wrong"]),
        # taught words
        (judged("dog", (["dog"], ())), read("taught", "dog"), []),
        (judged("dog", ((), ["dog"])), read("taught", "dog"), []),
        (judged("crane", NONE, ((), ["dog"])), read("taught", "crane"), ["wrong", "silent"]),
        (judged("dog", NONE), read("unknown", "dog"), ["lost"]),
        # none may answer
        (STRIPES, read("unknown", "zebra"), []),
        (STRIPES, read("read_as", "hat"), ["wrong", "none_answered"]),
        (UNSURE, read("read_as", "cup"), ["wrong"]),
    ],
)
def test_faults(word: EverydayWord, reading: Reading, faults: list[str]) -> None:
    assert faults_of(word, reading, taught=TAUGHT) == faults


def test_each_fault_is_counted_among_those_that_could_have_it() -> None:
    words = [COUCH, CUP, STRIPES, judged("dog", (["dog"], ())), judged("pug", ((), ["dog"]))]
    readings = {
        "couch": read("unknown", "sofa"),
        "beaker": read("read_as", "cup", "bowl"),
        "barcode": read("read_as", "hat"),
        "dog": read("taught", "dog"),
        "pug": read("same", "dog"),
    }
    assert count(words, readings, taught=TAUGHT) == {
        "taught": Share(1, 5),
        "same": Share(1, 5),
        "read_as": Share(2, 5),
        "unknown": Share(1, 5),
        "wrong": Share(1, 4),
        "partly_wrong": Share(1, 4),
        "silent": Share(1, 2),
        "lost": Share(1, 2),
        "none_answered": Share(1, 1),
    }


def test_readers_differ_on_the_same_on_what_may_answer_or_on_none() -> None:
    pairs = [
        ((["a"], ["b"]), (["a"], ["b"]), False),
        (((), ["b", "a"]), ((), ["a", "b"]), False),
        ((["a"], ["b"]), ((), ["a", "b"]), True),
        ((["a"], ["b"]), (["a"], ()), True),
        (NONE, ((), ["a"]), True),
    ]
    assert [judged("x", *pair).differ for *pair, _ in pairs] == [each for *_, each in pairs]
