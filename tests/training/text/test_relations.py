from __future__ import annotations

import pytest

from training.text.relations import Relations


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


def test_the_head_noun_of_what_wordnet_knows_tells_nothing(relations: Relations) -> None:
    """A Boston bull is a dog."""
    assert relations.related(["dog", "sofa"], ["hot dog", "red sofa"]).tolist() == [
        [False, False],
        [False, True],
    ]
