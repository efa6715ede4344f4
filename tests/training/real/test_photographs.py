"""Which sets serve, what is held out, and how often each image is drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.refusals import refused
from tests.training.photograph_files import annotation, rectangle, sample_image, write_set
from training.data_config import Photographs as Settings
from training.data_config import PhotographSettings
from training.errors import TrainingError
from training.real.photographs import Photographs

BOX = rectangle(10, 10, 60, 60)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Twelve cats, one of them with a dog, in `a`; a cat of "val" and three others in `b`."""
    cats = [(sample_image(), [annotation(1, BOX)], {}) for _ in range(11)]
    both = (sample_image(), [annotation(1, BOX), annotation(2, BOX), annotation(1, BOX)], {})
    write_set(
        tmp_path / "a",
        [*cats, both],
        info={"open": True, "complete": True},
        categories=["cat", "dog", "fire engine"],
    )
    write_set(
        tmp_path / "b",
        [
            (sample_image(), [annotation(1, BOX)], {"split": "val"}),
            (sample_image(), [annotation(2, BOX)], {"labels": ["wood"]}),
            (sample_image(), [], {"labels": ["wood", "dog house", "oak"]}),
            (sample_image(), [], {}),
        ],
        categories=["cat", {"name": "region", "nameless": True}],
    )
    return tmp_path


def load(root: Path, split: Any = "train", **more: Any) -> Photographs:
    return Photographs(Settings(source="photographs", root=root, **more), split=split)


def test_images_of_a_split_are_numbered_through(root: Path) -> None:
    train = load(root)
    assert (len(train), train.owners.tolist()) == (15, [0] * 12 + [1] * 3)
    assert train.rows.tolist() == [*range(12), 1, 2, 3]
    assert train.names == ("cat", "dog", "dog house", "fire engine", "oak", "wood")
    val = load(root, "val")
    assert (len(val), val.names) == (1, train.names)
    assert [train[each].found.name for each in (0, 14)] == ["a", "b"]
    assert train.labels(13) == [5, 2, 4]
    assert train.absent(0) == [1, 3]
    assert train.absent(12) == []
    assert train[11].concepts(train[11].numbers).tolist() == [0, 1, 0]


def test_a_concept_weighs_by_the_images_that_show_it(root: Path) -> None:
    """Twelve cats, one dog, two of wood, and one of nothing in `b`."""
    train = load(root)
    assert [train.concepts(each).tolist() for each in (0, 11, 12, 13, 14)] == [
        [0],
        [0, 1],
        [5],
        [5],
        [-1],
    ]
    cat, wood = 12**-0.5, 2**-0.5
    expected = np.array([cat] * 11 + [cat + 1, wood, wood, 1])
    np.testing.assert_allclose(train.weights(), expected / expected.sum())
    even = np.array([1.0] * 11 + [2, 1, 1, 1])
    np.testing.assert_allclose(load(root, balance=0).weights(), even / even.sum())


def test_sets_have_weights_and_caps(root: Path) -> None:
    plain = load(root).weights()
    own = {"a": PhotographSettings(cap=3), "b": PhotographSettings(weight=2, cap=50)}
    expected = plain * ([3 / 12] * 12 + [2] * 3)
    np.testing.assert_allclose(load(root, sets=own).weights(), expected / expected.sum())
    alone = load(root, sets={"b": PhotographSettings(weight=0)})
    assert [each.name for each in alone.sets] == ["a"]


def test_terms_leave_sets_out(root: Path) -> None:
    assert [each.name for each in load(root, terms="open").sets] == ["a"]
    told = {"a": PhotographSettings(open=False), "b": PhotographSettings(open=True)}
    assert [each.name for each in load(root, terms="open", sets=told).sets] == ["b"]
    told = {"a": PhotographSettings(open=False)}
    refused(lambda: load(root, terms="open", sets=told), TrainingError, "of 2 sets", "anybody")
    nothing = {name: PhotographSettings(weight=0) for name in "ab"}
    refused(lambda: load(root, sets=nothing), TrainingError, "weight above 0")


def test_a_split_without_photographs_is_named(root: Path) -> None:
    refused(lambda: load(root, "calibration"), TrainingError, "no photograph", "split calibration")
