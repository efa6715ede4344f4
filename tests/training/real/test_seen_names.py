"""Which photographs a model looks at, as a whole and by their masks."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from samclip_sdk import SamClip
from tests.drawings import TINY_BUNDLE
from tests.training.photograph_files import annotation, picture, rectangle, write_set
from training.data_config import Photographs as Settings
from training.real.photographs import Photographs
from training.real.seen_names import look


@pytest.fixture
def photographs(tmp_path: Path) -> Photographs:
    """Six with a mask of a cat, of which three are labelled as such too; and one of nothing."""
    cat = annotation(1, rectangle(10, 10, 90, 80))
    pictures = [
        (picture(200, 40 * i, 90), [cat], {"labels": ["cat"]} if i % 2 else {}) for i in range(6)
    ]
    write_set(tmp_path / "pets", [*pictures, (picture(), [], {})])
    return Photographs(Settings(source="photographs", root=tmp_path), split="train")


def sights(photographs: Photographs, *, whole: int, masked: int, seed: int = 0) -> list[np.ndarray]:
    with SamClip.load("onnx", model=TINY_BUNDLE) as model:
        found = list(
            look(model, photographs, whole_per_name=whole, masked_per_name=masked, seed=seed)
        )
    assert all(names == ("cat",) for _, names in found)
    return [feature for feature, _ in found]


def test_each_name_is_looked_at_often_enough_and_no_more(photographs: Photographs) -> None:
    counts = Counter(len(sights(photographs, whole=w, masked=m)) for w, m in ((2, 4), (1, 5)))
    assert counts == {6: 2}
    assert len(sights(photographs, whole=99, masked=99)) == 9


def test_what_is_seen_are_embeddings(photographs: Photographs) -> None:
    for feature in sights(photographs, whole=2, masked=2):
        assert feature.dtype == np.float32
        assert np.linalg.norm(feature) == pytest.approx(1, abs=1e-5)


def test_the_seed_chooses(photographs: Photographs) -> None:
    one, same = (sights(photographs, whole=1, masked=1) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(one, same, strict=True))
    others = [sights(photographs, whole=1, masked=1, seed=seed) for seed in range(1, 5)]
    assert any(not np.array_equal(one[0], each[0]) for each in others)
    assert any(not np.array_equal(one[1], each[1]) for each in others)


def test_a_broken_picture_is_passed_over(photographs: Photographs, tmp_path: Path) -> None:
    (tmp_path / "pets" / "images" / "1.jpg").write_bytes(b"no picture")
    assert len(sights(photographs, whole=99, masked=99)) == 8
