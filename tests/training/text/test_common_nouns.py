from __future__ import annotations

import pytest

from training.text.common_nouns import common_nouns, plural_of
from training.text.senses import Senses

_PLACES = {"dog": 30, "cat": 20, "man": 90, "car": 25, "table": 40, "cup": 60, "crane": 26}


def pieces(name: str) -> list[int]:
    """One piece for a word that is known, else two."""
    return [_PLACES[name]] if name in _PLACES else [1000, 2000]


def test_common_words_come_first_and_those_that_texts_mean_by_it(senses: Senses) -> None:
    """A man is often meant; a crane is also a poet, and a table also a list."""
    found = common_nouns(senses, pieces=pieces, count=7)
    assert found == ("dog", "man", "cat", "car", "table", "cup", "crane")


def test_only_what_can_be_seen_by_names_in_lower_case(senses: Senses) -> None:
    found = common_nouns(senses, pieces=pieces, count=1000)
    assert {"person", "animal", "sofa", "pug-dog"} <= {*found}
    assert {"sign", "people", "abstraction", "chihuahua", "hart crane"}.isdisjoint(found)
    assert len(found) == len({*found})


@pytest.mark.parametrize(
    ("name", "plural"),
    [
        ("dog", "dogs"),
        ("bus", "buses"),
        ("glass", "glasses"),
        ("wine glass", "wine glasses"),
        ("box", "boxes"),
        ("berry", "berries"),
        ("toy", "toys"),
        ("woman", "women"),
        ("fire truck", "fire trucks"),
        ("goose", "geese"),
        ("wild goose", "wild geese"),
        ("jeans", None),
        ("stairs", None),
    ],
)
def test_plurals(name: str, plural: str | None) -> None:
    assert plural_of(name, irregular={"goose": "geese"}) == plural
