"""The two-model pipeline on photographs of any shape."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.photographs.two_models import find_pair
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
