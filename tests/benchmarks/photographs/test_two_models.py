"""Photographs as the two-model pipeline sees them: square."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from benchmarks.photographs.two_models import Pipeline, as_scene, find_pair, padded
from samclip_sdk.bundle.manifest import PAD_COLOUR
from tests.source_tree import ROOT
from training.asked_pictures import AskedPicture
from training.errors import TrainingError
from training.teachers.photograph_pair import PhotographPair
from training.teachers.teacher_pair import SmallPair

IMAGE = np.full((4, 6, 3), 7, np.uint8)
MASK = np.tile([True, False, False, False, False, False], (4, 1))
ASKED = AskedPicture(IMAGE, present=("dog",), masks=MASK[None], absent=("cat", "cow"))


def test_a_picture_is_padded_below_or_at_its_right() -> None:
    wide, tall = padded(IMAGE), padded(IMAGE.transpose(1, 0, 2))
    for square in (wide, tall.transpose(1, 0, 2)):
        assert square.shape == (6, 6, 3)
        assert (square[:4] == 7).all()
        assert (square[4:] == PAD_COLOUR).all()


def test_a_scene_holds_what_is_asked() -> None:
    scene, question = as_scene(ASKED, ["ant", "cat", "cow", "dog"])
    assert (question.present, question.absent) == ((3,), (1, 2))
    assert scene.labels.tolist() == [3]
    assert scene.masks.shape == (1, 6, 6)
    assert (scene.masks[0, :4] == MASK).all()
    assert not scene.masks[0, 4:].any()


def test_teachers_are_those_that_the_config_merges() -> None:
    checkpoints = ROOT / "training" / "checkpoints"
    assert isinstance(find_pair(checkpoints / "mobile"), PhotographPair)
    assert isinstance(find_pair(checkpoints / "tiny"), SmallPair)
    with pytest.raises(TrainingError, match="there is no config 'none'"):
        find_pair(checkpoints / "none")


def test_segments_are_named_and_lose_their_padding(monkeypatch: pytest.MonkeyPatch) -> None:
    """One segment, of the left column and the padding, that is nearest to "cat", or to nothing."""
    segment = np.zeros((1, 6, 6), bool)
    segment[0, :, 0] = True
    segment[0, 4:] = True
    known = {"dog": [1, 0, 0], "cat": [0, 1, 0], "cow": [1, 0, 0]}

    class FakeTwoModels:
        def __init__(self, *_: Any, settings: Any) -> None: ...

        def look(self, image: np.ndarray) -> Any:
            assert image.shape == (6, 6, 3)
            return SimpleNamespace(
                choose=lambda _: (segment, np.array([[0, 0.8, 0.6]], np.float32))
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
