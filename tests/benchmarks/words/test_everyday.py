"""The committed list of words, and what was read before."""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from itertools import pairwise

from benchmarks.pages import RECORDS, ROOT
from benchmarks.words.commonest import draw_sample
from benchmarks.words.everyday import LIST, read_before, read_everyday

WORDS = read_everyday()


def test_another_list_has_other_words() -> None:
    fresh = read_everyday(LIST.with_name("fresh.json"))
    assert len({each.word for each in fresh}) == 400
    assert not {each.word for each in fresh} & {each.word for each in WORDS}


def test_the_list_is_what_its_page_says() -> None:
    assert len({each.word for each in WORDS}) == 800
    assert Counter((each.kind, each.half) for each in WORDS) == {
        ("noun", "seen"): 300,
        ("noun", "aside"): 300,
        ("compound", "seen"): 100,
        ("compound", "aside"): 100,
    }
    page = (ROOT / RECORDS / "words.md").read_text(encoding="utf-8")
    pairs = [each.readers for each in WORDS]
    agreed = (
        sum(set(first.same) == set(second.same) for first, second in pairs),
        sum(first.none == second.none for first, second in pairs),
        sum(not each.differ for each in WORDS),
    )
    assert all(re.search(rf"\b{each}\b", page) for each in agreed), agreed


def test_every_other_word_of_a_topic_and_kind_is_set_aside() -> None:
    groups = defaultdict(list)
    for each in sorted(WORDS, key=lambda own: hashlib.sha256(own.word.encode()).hexdigest()):
        groups[each.topic, each.kind].append(each.half)
    assert len(groups) == 24
    assert all(one != other for halves in groups.values() for one, other in pairwise(halves))


def test_a_judgement_is_none_or_lists_of_different_words() -> None:
    judgements = [reader for each in WORDS for reader in each.readers]
    assert all(each.none != bool(each.listed) for each in judgements)
    assert not [each for each in judgements if {*each.same} & {*each.acceptable}]


def test_every_word_was_read_before() -> None:
    before = read_before()
    assert before.keys() == {each.word for each in WORDS}
    assert all(len(each.words) == 1 for each in before.values())
    own = [word for word, each in before.items() if each.kind == "taught"]
    assert all(before[word].words == (word,) for word in own)


def test_a_sample_is_drawn_by_its_seed_and_leaves_words_out() -> None:
    nouns = [f"{number}" for number in range(50)]
    drawn = draw_sample(nouns, size=10, seed=0)
    assert len({*drawn} & {*nouns}) == 10
    assert drawn == draw_sample(nouns, size=10, seed=0) != draw_sample(nouns, size=10, seed=1)
    rest = draw_sample(nouns, size=50, seed=0, without=drawn)
    assert {*rest} == {*nouns} - {*drawn}
