from __future__ import annotations

import numpy as np
import pytest

from training.text.relations import Relations


@pytest.mark.parametrize(
    "pair",
    [
        ("pug", "dog"),
        ("pug", "animal"),
        ("pedestrian", "person"),
        ("man", "person"),
        ("men", "person"),
        ("women", "people"),
        ("car", "vehicle"),
        ("cars", "car"),
        ("sofa", "couch"),
        ("television", "tv"),
        ("taxi", "car"),
        ("dining table", "table"),
        ("wine glass", "glass"),
        ("german shepherd dog", "dog"),
        ("donut", "doughnut"),
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
        ("dog", "person"),
        ("cup", "bottle"),
        ("bus", "truck"),
        ("horse", "cow"),
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


def test_many_names_at_once(relations: Relations) -> None:
    names = ["dog", "pug", "cat", "animal", "car"]
    found = relations.kin(names)
    assert found.dtype == np.bool_
    assert np.array_equal(found, found.T)
    assert found[0].tolist() == [True, True, False, True, False]
    assert found[3].tolist() == [True, True, True, True, False]
