"""The two-model pipeline on photographs of any shape."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from benchmarks.photographs.two_models import Pipeline, find_pair
from tests.source_tree import ROOT
from training.asked_pictures import AskedPicture
from training.errors import TrainingError
from training.teachers.photograph_pair import PhotographPair
from training.teachers.teacher_pair import SmallPair

IMAGE = np.full((4, 6, 3), 7, np.uint8)
MASK = np.tile([True, False, False, False, False, False], (4, 1))
ASKED = AskedPicture(IMAGE, present=("dog",), masks=MASK[None], absent=("cat", "cow"))


def test_teachers_are_those_that_the_config_merges() -> None:
    checkpoints = ROOT / "training" / "checkpoints"
    assert isinstance(find_pair(checkpoints / "mobile"), PhotographPair)
    assert isinstance(find_pair(checkpoints / "tiny"), SmallPair)
    with pytest.raises(TrainingError, match="there is no config 'none'"):
        find_pair(checkpoints / "none")


def test_segments_are_named_with_and_without_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """One segment, the left column, that is nearest to "cat", or to nothing."""
    known = {"dog": [1, 0, 0], "cat": [0, 1, 0], "cow": [1, 0, 0]}

    class FakeTwoModels:
        def __init__(self, *_: Any, settings: Any) -> None: ...

        def look(self, image: np.ndarray) -> Any:
            assert image.shape == (4, 6, 3)
            return SimpleNamespace(
                choose=lambda _: (MASK[None], np.array([[0, 0.8, 0.6]], np.float32))
            )

    monkeypatch.setattr("benchmarks.photographs.two_models.TwoModels", FakeTwoModels)
    monkeypatch.setattr("benchmarks.photographs.two_models.tune", lambda *_, **__: "tuned")
    teachers: Any = SimpleNamespace(
        sam=None,
        clip=None,
        classes=lambda names: np.array([known.get(name, [0, 0.6, 0.8]) for name in names]),
    )
    pipeline = Pipeline(teachers, [ASKED])
    assert pipeline.settings == "tuned"
    found = dict(pipeline.ask(ASKED))
    assert [mask.any() for mask in found["two_models"]] == [False, True, False]
    assert (found["two_models"][1] == MASK).all()
    assert not found["two_models_or_nothing"].any()
