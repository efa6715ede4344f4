from __future__ import annotations

from itertools import pairwise

import pytest

from training.errors import TrainingError
from training.real.multiscale import Multiscale

BUDGET = 8 * 448**2


def plan(seed: int = 0, **settings: int) -> Multiscale:
    return Multiscale((224, 336, 448), pixels_per_batch=BUDGET, seed=seed, **settings)


def test_batches_have_as_many_pixels_and_follow_one_another() -> None:
    """Over the border of the 4,096 steps that are drawn at once, too."""
    forwards = plan()
    spans = [forwards.batch(index) for index in range(9000)]
    assert spans[0].indices.start == 0
    assert all(one.indices.stop == following.indices.start for one, following in pairwise(spans))
    assert plan().batch(8999) == spans[8999]
    assert {span.resolution: len(span.indices) for span in spans} == {224: 32, 336: 14, 448: 8}
    for span in spans:
        assert BUDGET - span.resolution**2 < len(span.indices) * span.resolution**2 <= BUDGET


def test_an_image_that_has_no_room() -> None:
    with pytest.raises(TrainingError, match=r"255 pixels a batch are less than one .* 16 x 16"):
        Multiscale((8, 16), pixels_per_batch=255, seed=0)
