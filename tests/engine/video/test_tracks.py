"""Which object is which: by overlap, by what is inside, and by where it should be."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from samclip_sdk.engine.objects import Detection, FoundObject
from samclip_sdk.engine.video.tracks import NEW_SCORE, PATIENCE, FrameDetections, Tracks, best_pairs
from samclip_sdk.image.packed_masks import PackedMask

SIDE = 16
Seen = tuple[int, int, np.ndarray]  # column and row of a mask of 4 x 4, and what is inside
A, B = np.eye(4, dtype=np.float32)[:2]


def sighting(seen: Seen, *, score: float = 0.5, label: int = 0) -> tuple[Detection, np.ndarray]:
    x, y, embedding = seen
    mask = np.zeros((SIDE, SIDE), dtype=bool)
    mask[y : y + 4, x : x + 4] = True
    low_res = np.where(mask, 5, -5).astype(np.float32)
    packed = PackedMask.pack(np.ones((1, 1), bool))
    return Detection(FoundObject(packed, score, 0.9, 1.0, label, score), low_res, embedding), mask


def look(
    tracks: Tracks,
    *seen: Seen,
    index: int,
    moved: Sequence[float] = (0, 0),
    score: float = 0.5,
    label: int = 0,
) -> list[int]:
    """Updates the tracks with what is seen; where masks are expected, they are as they were."""
    pairs = [sighting(each, score=score, label=label) for each in seen]
    shape = (-1, SIDE, SIDE)
    expected = np.array([each.low_res > 0 for each in tracks.in_sight], dtype=bool).reshape(shape)
    tracks.update(
        FrameDetections(
            [each for each, _ in pairs],
            masks=np.array([mask for _, mask in pairs], dtype=bool).reshape(shape),
            moved=np.tile(np.float32(moved), (len(seen), 1)).reshape(-1, 2),
            expected=expected,
            index=index,
        )
    )
    return [each.id for each in tracks.in_sight]


def test_masks_that_overlap_are_one_object() -> None:
    tracks = Tracks()
    assert look(tracks, (0, 0, A), (8, 0, A), index=0) == [1, 2]
    assert look(tracks, (9, 0, A), (1, 1, A), index=1) == [2, 1]


def test_what_is_inside_decides_between_overlaps() -> None:
    tracks = Tracks()
    look(tracks, (0, 0, A), (2, 0, B), index=0)
    assert look(tracks, (1, 0, B), (3, 0, A), index=1) == [2, 1]


def test_an_object_comes_back_elsewhere() -> None:
    tracks = Tracks()
    look(tracks, (0, 0, A), index=0)
    assert look(tracks, index=1) == []
    assert look(tracks, (12, 12, A), index=PATIENCE) == [1]


def test_another_does_not_take_its_id() -> None:
    for other, label, index in ((B, 0, 2), (A, 1, 2), (A, 0, PATIENCE + 1)):
        tracks = Tracks()
        look(tracks, (0, 0, A), index=0)
        look(tracks, index=1)
        assert look(tracks, (0, 0, other), index=index, label=label) == [2]


def test_of_two_alike_the_one_that_should_be_there() -> None:
    """They went behind something, towards each other, and come out at the other sides."""
    tracks = Tracks()
    look(tracks, (0, 0, A), index=0, moved=(0.1, 0))
    look(tracks, (0, 0, A), (12, 0, A), index=1, moved=(0.1, 0))
    left, right = tracks.in_sight
    assert left.position == pytest.approx([2 / 16, 2 / 16])
    assert left.position_at(4) == pytest.approx([2 / 16 + 0.3, 2 / 16])
    assert right.position_at(99).max() <= 1
    look(tracks, index=2)
    assert look(tracks, (5, 0, A), index=5) == [left.id]


def test_what_hardly_scores_is_no_new_object_but_may_be_a_known_one() -> None:
    tracks, little = Tracks(), NEW_SCORE / 2
    assert look(tracks, (0, 0, A), index=0, score=little) == []
    look(tracks, (0, 0, A), index=1)
    assert look(tracks, (0, 0, A), index=2, score=little) == [1]


def test_after_a_cut_places_count_no_more() -> None:
    tracks = Tracks()
    look(tracks, (0, 0, A), index=0)
    tracks.forget_positions()
    assert tracks.in_sight == []
    assert look(tracks, (0, 0, B), index=1) == [2]
    assert look(tracks, (0, 0, B), (8, 8, A), index=2) == [2, 1]


@given(st.integers(0, 5), st.integers(0, 5), st.integers(0, 2**32))
def test_pairs_are_one_to_one_and_the_best_is_among_them(n: int, m: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    likeness, allowed = generator.normal(size=(n, m)), generator.random((n, m)) < 0.6
    pairs = best_pairs(likeness, allowed=allowed)
    assert len(set(pairs.values())) == len(pairs)
    assert all(allowed[row, column] for column, row in pairs.items())
    if allowed.any():
        best = np.where(allowed, likeness, -np.inf)
        row, column = divmod(int(best.argmax()), m)
        assert pairs[column] == row


def test_a_mask_that_is_empty_at_the_models_size_ends_no_pairing() -> None:
    tracks = Tracks()
    (first,) = look(tracks, (2, 2, A), index=0)
    empty, _ = sighting((0, 0, B))
    found, mask = sighting((12, 12, A))
    tracks.update(
        FrameDetections(
            [empty, found],
            masks=np.stack([np.zeros_like(mask), mask]),
            moved=np.zeros((2, 2), np.float32),
            expected=np.stack([tracks.in_sight[0].low_res > 0]),
            index=1,
        )
    )
    assert all(np.isfinite(each.position).all() for each in tracks.in_sight)
    assert first in [each.id for each in tracks.in_sight]
    assert look(tracks, (12, 12, A), index=2) == [first]
