from __future__ import annotations

import numpy as np
import pytest

from benchmarks.quality.drawings import Drawings, Picture
from benchmarks.quality.ranking import (
    NearestCutout,
    hog,
    measure_ranking,
)
from benchmarks.quality.record import HELDOUT, UNSEEN, Settings
from benchmarks.quality.scores import rank_of_truth
from training.composed.corpus import Corpus

NOUNS = ("red", "green", "blue", "yellow", "white", "black", "pink")


@pytest.fixture
def drawings() -> Drawings:
    """Seven nouns, the last of which has no drawing and was never taught."""
    colours = [(200, 0, 0), (0, 200, 0), (0, 0, 200), (200, 200, 0), (250, 250, 250), (9, 9, 9)]
    square = np.ones((40, 40, 1), np.uint8)
    corpus = Corpus(
        cutouts=tuple(square * np.array([*colour, 255], np.uint8) for colour in colours),
        labels=np.arange(6),
        nouns=NOUNS,
        backgrounds=(),
        shown=(),
    )
    return Drawings(HELDOUT, corpus, 6, Settings(nouns=6, pictures=12, scenes=2, size_px=64))


def test_a_tie_counts_against_the_model() -> None:
    scores = np.array([0.5, 0.9, 0.5, 0.7])
    assert rank_of_truth(scores, right=[0]) == 3
    assert rank_of_truth(scores, right=[1]) == 0
    assert rank_of_truth(scores, right=[0, 3]) == 1
    assert rank_of_truth(scores, right=[0], passed_over=[1, 2]) == 1
    assert rank_of_truth(np.full(4, 0.3), right=[0]) == 3


def test_top_1_and_top_5_by_hand(drawings: Drawings) -> None:
    """Always the same order, 0 first: of six clean pictures one is first, five are in five."""
    order = -np.arange(7, dtype=np.float32)
    clean, composed = measure_ranking(lambda _: order, drawings, who="model")
    assert (clean.picture, clean.pictures, clean.labels) == ("clean", 6, 7)
    assert clean.top1 == pytest.approx(1 / 6)
    assert clean.top5 == pytest.approx(5 / 6)
    labels = [picture.label for picture in drawings.composed()]
    assert (composed.picture, composed.pictures) == ("composed", 12)
    assert composed.top1 == pytest.approx(labels.count(0) / 12)


def test_unseen_nouns_among_themselves_and_among_all(drawings: Drawings) -> None:
    """Two nouns were never taught; of two pictures one is beaten by a taught noun, none else."""
    corpus = Corpus(
        cutouts=drawings.corpus.cutouts[:2],
        labels=np.array([5, 6]),
        nouns=NOUNS,
        backgrounds=(),
        shown=(),
    )
    settings = Settings(nouns=5, pictures=1, scenes=1, size_px=32)
    unseen = Drawings(UNSEEN, corpus, 5, settings)
    answers = iter([[0, 0, 0, 0, 9, 2, 1], [0, 0, 0, 0, 0, 2, 3], [0] * 7])
    rows = list(measure_ranking(lambda _: np.array(next(answers)), unseen, who="model"))
    assert [(row.labels, row.top1) for row in rows[:2]] == [(2, 1.0), (7, 0.5)]
    # A classifier that says the same of every label gets nothing.
    assert [(row.labels, row.top1) for row in rows[2:]] == [(2, 0.0), (7, 0.0)]


def test_a_noun_that_the_photo_shows_is_no_mistake(drawings: Drawings) -> None:
    picture = Picture(np.zeros((8, 8, 3), np.uint8), label=1, also=np.array([0]))

    class OnePicture(Drawings):
        def clean(self) -> list[Picture]:
            return [picture]

    one = OnePicture(HELDOUT, drawings.corpus, 6, drawings.settings)
    clean, _ = measure_ranking(lambda _: np.array([9, 5, 1, 1, 1, 1, 1]), one, who="floor")
    assert clean.top1 == 1


def test_the_floor_finds_the_same_shape_and_colour(drawings: Drawings) -> None:
    cutouts = drawings.clean()
    floor = NearestCutout(
        [each.image for each in cutouts], labels=drawings.corpus.labels, num_nouns=7
    )
    for each in cutouts:
        scores = floor.scores(each.image)
        assert scores.argmax() == each.label
        assert scores.max() == pytest.approx(1, abs=1e-4)
        assert scores[6] == -1  # without a cut-out
    clean, _ = measure_ranking(floor.scores, drawings, who="floor")
    assert (clean.top1, clean.top5) == (1, 1)


def test_the_floor_tells_shapes_apart() -> None:
    """Black shapes of the same size on grey: colour alone says little."""
    across, up = np.full((64, 64, 3), 236, np.uint8), np.full((64, 64, 3), 236, np.uint8)
    across[28:36, 8:56] = 0
    up[8:56, 28:36] = 0
    floor = NearestCutout([across, up], labels=np.array([0, 1]), num_nouns=2)
    shifted = np.roll(across, 2, axis=0)
    scores = floor.scores(shifted)
    assert scores[0] > scores[1] + 0.2


def test_hog_ignores_which_side_is_dark() -> None:
    step = np.zeros((64, 64, 3), np.uint8)
    step[:, 32:] = 200
    np.testing.assert_allclose(hog(step), hog(200 - step), atol=1e-6)
    assert not np.allclose(hog(step), hog(step.transpose(1, 0, 2)), atol=1e-2)
    assert not hog(np.full((64, 64, 3), 7, np.uint8)).any()
