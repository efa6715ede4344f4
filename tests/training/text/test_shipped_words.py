"""The readings of the published checkpoint: its words.json, by the rule that all packages share."""

from __future__ import annotations

import zlib
from pathlib import Path

import pytest

from samclip_sdk.text.word_table import WordReader, WordTable, read_table

_CHECKPOINT = Path(__file__).parents[3] / "training/checkpoints/mobile/refinement"


@pytest.fixture(scope="module")
def table() -> WordTable:
    return read_table(_CHECKPOINT / "words.json")


@pytest.fixture(scope="module")
def reader(table: WordTable) -> WordReader:
    return table.reader((_CHECKPOINT / "nouns.txt").read_text(encoding="utf-8").splitlines())


_SAME = {
    "people": "person",
    "t shirt": "t-shirt",
    "tshirts": "t-shirt",
    "trousers": "pants",
    "taxi": "cab",
    "spectacles": "eyeglasses",
    "glasses": "eyeglasses",
    "polar bear": "ice bear",
    "a dog": "dog",
    "the knives": "knife",
    "geese": "goose",
    "matches": "matchstick",
    "firetruck": "fire truck",
    "lady bug": "ladybug",
}
_READ_AS = {
    "woman": "person",
    "children": "person",
    "sailor": "person",
    "police officers": "person",
    "axe": "hatchet",
    "mop": "swab",
    "coffee cup": "cup",
    "jar": "container",
    "armchair": "chair",
    "oak": "tree",
    "red sports car": "sports car",
    "black and white cat": "cat",
    "white running shoes": "running shoe",
    "slice of cheese": "cheese",
    "a cup of tea": "cup",
    "man in a red hat": "person",
    "bowl full of fruit": "bowl",
    "football fan": "person",
    "reading glasses": "eyeglasses",
}
_UNKNOWN = """
    star, router, charger, tire, tattoo, iceberg, beard, face, hand, tail, earrings, ear ring,
    rainbow, snow man, light bulb, flower bed, coat of paint, record player, car key, car tire,
    steering wheel, seahorse toys, palm of the hand, tree trunk, finger nails, yellow ear ring,
    mice, horse head, bridal train
"""


@pytest.mark.parametrize(("text", "word"), _SAME.items())
def test_the_same(reader: WordReader, text: str, word: str) -> None:
    found = reader.read(text)
    assert found is not None
    assert (found.kind, found.words) == ("same", (word,))


@pytest.mark.parametrize(("text", "word"), _READ_AS.items())
def test_a_kind_or_the_head_noun(reader: WordReader, text: str, word: str) -> None:
    found = reader.read(text)
    assert found is not None
    assert (found.kind, found.words) == ("read_as", (word,))


@pytest.mark.parametrize("text", [" ".join(each.split()) for each in _UNKNOWN.split(",")])
def test_what_must_not_be_read(reader: WordReader, text: str) -> None:
    assert reader.read(text) is None


@pytest.mark.parametrize(
    ("text", "word"), [("animal", "dog"), ("furniture", "chair"), ("clothes", "shirt")]
)
def test_general_words_are_any_of_their_kinds(reader: WordReader, text: str, word: str) -> None:
    found = reader.read(text)
    assert found is not None
    assert found.kind == "read_as"
    assert word in found.words
    assert 1 < len(found.words) <= 16


def test_nothing_is_read_as_an_animal_by_a_rank(reader: WordReader) -> None:
    for text in ("officer", "sailor", "king", "rear admiral", "boxer shorts"):
        found = reader.read(text)
        assert found is None or found.words == ("person",), text


def test_the_table_is_small_and_says_one_thing_of_each_text(table: WordTable) -> None:
    lists = (*table.same.values(), *table.read_as.values(), [*table.any_of], table.unknown)
    spelled = [text.replace("-", "").replace(" ", "") for each in lists for text in {*each}]
    texts = [text for each in lists for text in each]
    assert len(texts) == len({*texts}) <= 40_000
    assert len({*spelled}) == len(spelled)
    assert len(zlib.compress((_CHECKPOINT / "words.json").read_bytes())) <= 1 << 20
