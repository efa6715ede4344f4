"""What photographs are asked for, by masks drawn by hand."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.training.photograph_files import (
    HEIGHT,
    WIDTH,
    annotation,
    rectangle,
    sample_image,
    write_set,
)
from training.data_config import Photographs as Settings
from training.errors import TrainingError
from training.real.photograph_questions import AskedPhotographs, concept_masks, read_photograph
from training.real.photographs import Photographs
from training.real.records import BrokenRecord

LEFT, RIGHT = rectangle(0, 0, 64, 96), rectangle(64, 0, 128, 96)
SMALL, LARGE = rectangle(0, 0, 61, 1), rectangle(0, 0, 62, 1)  # of 12,288 pixels, .005 are 61.44
NAMES = ("cat", "dog", "cow", "tree", "sky", "hat", "car", "boat")
CALIBRATION = {"split": "calibration"}


def load(root: Path, **more: Any) -> Photographs:
    return Photographs(Settings(source="photographs", root=root, **more), split="calibration")


def one_image(root: Path, *found: dict[str, Any], **info: Any) -> Photographs:
    write_set(
        root / "all",
        [(sample_image(), found, CALIBRATION)],
        categories=NAMES,
        info={"complete": True, **info},
    )
    return load(root)


def test_a_concept_is_all_that_is_annotated_of_it(tmp_path: Path) -> None:
    photographs = one_image(
        tmp_path,
        annotation(2, LEFT),
        annotation(1, SMALL),
        annotation(2, SMALL | RIGHT, iscrowd=1),
    )
    masks = concept_masks(photographs, 0)
    assert list(masks) == ["cat", "dog"]
    assert (masks["cat"] == SMALL).all()
    assert masks["dog"].all()


def test_what_is_too_small_or_without_a_mask_is_asked_as_neither(tmp_path: Path) -> None:
    boxed = annotation(3, LEFT) | {"segmentation": None}
    photographs = one_image(
        tmp_path, annotation(1, LARGE), annotation(2, SMALL), boxed, annotation(3, LEFT)
    )
    asked = AskedPhotographs(photographs, seed=0).question(0)
    assert asked.present == ("cat",)
    assert (asked.masks == LARGE[None]).all()
    assert set(asked.absent) == {"tree", "sky", "hat", "car", "boat"}
    assert asked.labels == ("cat", *asked.absent)
    assert asked.image.shape == (HEIGHT, WIDTH, 3)


def test_five_absent_names_are_drawn_alike_each_time(tmp_path: Path) -> None:
    photographs = one_image(tmp_path, annotation(1, LEFT))
    first, again, other = (
        AskedPhotographs(photographs, seed=seed).question(0).absent for seed in (0, 0, 1)
    )
    assert first == again
    assert first != other
    assert len(set(first)) == 5
    assert "cat" not in first


def test_only_images_of_complete_sets_are_asked(tmp_path: Path) -> None:
    one = (sample_image(), [annotation(1, LEFT)], CALIBRATION)
    write_set(tmp_path / "a", [one, one])
    with pytest.raises(TrainingError, match=r"split calibration labels all .*: give one, or say"):
        AskedPhotographs(load(tmp_path), seed=0)
    train = (sample_image(), [annotation(1, LEFT)], {})
    write_set(tmp_path / "b", [one, train, one, one], info={"complete": True})
    asked = AskedPhotographs(load(tmp_path), seed=0)
    assert sorted(asked.images.tolist()) == [2, 3, 4]
    assert len(asked) == 3


def test_broken_images_are_counted_and_left_out(tmp_path: Path) -> None:
    good = (sample_image(), [annotation(1, LEFT)], CALIBRATION)
    damaged = (sample_image(), [annotation(1, np.ones((9, 9), bool))], CALIBRATION)
    write_set(tmp_path / "a", [good, good, damaged, good], info={"complete": True})
    (tmp_path / "a" / "images" / "1.jpg").write_bytes(b"no image")
    (tmp_path / "a" / "images" / "2.jpg").write_bytes(sample_image(height=9))
    photographs, broken = load(tmp_path), Counter[str]()
    asked = list(AskedPhotographs(photographs, seed=0).ask(broken))
    assert [each.present for each in asked] == [("cat",)]
    assert broken == {"image": 2, "mask": 1}
    with pytest.raises(BrokenRecord, match=r"2.jpg has .9, 128. pixels, and .96, 128. in"):
        read_photograph(photographs, 1)
    (tmp_path / "a" / "images" / "4.jpg").unlink()
    with pytest.raises(BrokenRecord, match="record"):
        read_photograph(photographs, 3)
