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
    assert spans[0].first == 0
    assert all(one.places.stop == following.first for one, following in pairwise(spans))
    assert plan().batch(8999) == spans[8999]
    assert {span.resolution: span.count for span in spans} == {224: 32, 336: 14, 448: 8}
    for span in spans:
        assert BUDGET - span.resolution**2 < span.count * span.resolution**2 <= BUDGET


@pytest.mark.parametrize(
    ("resolutions", "pixels", "indices_per_step", "message"),
    [
        ((), 100, 1, "there must be some"),
        ((0, 8), 100, 1, "above 0"),
        ((8, 16), 255, 1, "255 pixels a batch are less than one picture of 16 x 16"),
        ((8,), 100, 0, "indices_per_step is 0"),
    ],
)
def test_impossible_settings(
    resolutions: tuple[int, ...], pixels: int, indices_per_step: int, message: str
) -> None:
    with pytest.raises(TrainingError, match=message):
        Multiscale(resolutions, pixels_per_batch=pixels, indices_per_step=indices_per_step, seed=0)
