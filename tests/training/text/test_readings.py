"""What WordNet says of texts, by the small WordNet of things."""

from __future__ import annotations

from pathlib import Path

import pytest

from samclip_sdk.text.word_table import WordTable
from tests.training.text.things import write_things
from training.readings import make_table
from training.text.relations import Relations
from training.text.word_exceptions import Rule, WordExceptions
from training.text.wordnet import WordNet

_TAUGHT = ("person", "car", "truck", "sofa", "cup", "pug", "chihuahua", "horse")
_MORE = {
    800: (20, ("plum",), (4,), ""),
    801: (13, ("plum",), (600,), ""),
    802: (6, ("hot_rod",), (301,), ""),
    803: (6, ("toy_car",), (5,), ""),
    804: (6, ("lorry",), (304,), ""),
    805: (6, ("coupe",), (806,), ""),
    806: (6, ("sports_car",), (301,), ""),
    807: (6, ("charger",), (5,), ""),
    808: (5, ("charger",), (104,), ""),
    809: (18, ("sailor",), (201,), ""),
    810: (13, ("hot_sofa",), (600,), ""),
}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> WordTable:
    relations = Relations(WordNet(write_things(tmp_path_factory.mktemp("things"), _MORE)))
    return make_table(
        _TAUGHT,
        relations=relations,
        exceptions=_exceptions({"van": ("read_as", ("truck",)), "kid": ("unknown", ())}),
        count=1000,
        compounds=1000,
        pieces=lambda name: [len(name)],
    )


def _exceptions(readings: dict[str, tuple[str, tuple[str, ...]]]) -> WordExceptions:
    rule = Rule(joints=("with", "of"), measures=("slice",), articles=("a",))
    return WordExceptions(rule, senses={}, depth={"": 2, "person": 0}, readings=readings)


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        ("automobile", "same", ("car",)),
        ("couches", "same", ("sofa",)),
        ("taxi", "read_as", ("car",)),
        ("lorry", "read_as", ("truck",)),
        ("coupe", "read_as", ("car",)),
        ("people", "same", ("person",)),
        ("van", "read_as", ("truck",)),
        ("dog", "any_of", ("pug", "chihuahua")),
        ("toy car", None, ()),
        ("red toy car", None, ()),
        ("hot sofa", None, ()),
        ("hot rod", "read_as", ("car",)),
        ("old car", "read_as", ("car",)),
        ("charger", None, ()),  # a horse, or something for a battery
        ("sailor", None, ()),  # persons are said by people alone
        ("furniture", None, ()),  # of general words, only animals
        ("crane", None, ()),
    ],
)
def test_readings(table: WordTable, text: str, kind: str | None, words: tuple[str, ...]) -> None:
    found = table.reader(_TAUGHT).read(text)
    if kind is None:
        assert found is None
        return
    assert found is not None
    assert found.kind == ("read_as" if kind == "any_of" else kind)
    assert found.words == words


def test_nothing_is_in_the_table_that_the_rule_says_itself(table: WordTable) -> None:
    texts = [
        text for each in (table.same, table.read_as) for some in each.values() for text in some
    ]
    assert {"cars", "old car", "sports car"}.isdisjoint(texts)
    assert "toy car" in table.unknown
    assert "kid" not in table.unknown


def test_the_table_is_the_same_each_time(table: WordTable, tmp_path: Path) -> None:
    again = make_table(
        _TAUGHT,
        relations=Relations(WordNet(write_things(tmp_path, _MORE))),
        exceptions=_exceptions({"kid": ("unknown", ()), "van": ("read_as", ("truck",))}),
        count=1000,
        compounds=1000,
        pieces=lambda name: [len(name)],
    )
    assert again == table
