from __future__ import annotations

from pathlib import Path

import pytest

from tests.training.text.things import write_things
from tests.training.text.wordnet_files import Nouns
from training.text.relations import Relations
from training.text.wordnet import WordNet


@pytest.mark.parametrize(
    "pair",
    [
        ("pug", "dog"),
        ("pug", "animal"),
        ("sofa", "couch"),
        ("man", "person"),
        ("men", "person"),
        ("women", "people"),
        ("cars", "car"),
        ("taxi", "car"),
        ("dining table", "table"),
        ("german shepherd dog", "dog"),
        ("person on horse", "person"),
        ("kitten", "cat"),
        ("mug", "cup"),
        ("street sign", "sign"),
        ("xyz", "xyzs"),
    ],
)
def test_kin(relations: Relations, pair: tuple[str, str]) -> None:
    assert relations.kin(pair).all()


@pytest.mark.parametrize(
    "pair",
    [
        ("dog", "cat"),
        ("man", "woman"),
        ("hot dog", "dog"),
        ("dog", "organism"),
        ("table", "artifact"),
        ("xyz", "dog"),
        ("xyz", "abc"),
    ],
)
def test_what_is_no_kin(relations: Relations, pair: tuple[str, str]) -> None:
    assert relations.kin(pair).tolist() == [[True, False], [False, True]]


def test_the_head_noun_of_what_wordnet_knows_is_no_relative(tmp_path: Path) -> None:
    """Nor is a Boston bull, which is a dog, a bull."""
    more: Nouns = {110: (5, ("sea_horse",), (102,), "")}
    relations = Relations(WordNet(write_things(tmp_path, more)))
    assert relations.related(["horse"], ["sea horse", "red horse"]).tolist() == [[False, True]]
