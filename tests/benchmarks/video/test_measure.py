"""The made video's truth, and how answers are compared with it."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from benchmarks.video.made_video import (
    FRAMES,
    HEIGHT_PX,
    WIDTH_PX,
    MadeFrame,
    actors,
    labels_of,
    make_frames,
)
from benchmarks.video.measure import score_answers
from samclip_sdk import TrackedInstances
from samclip_sdk.picture.masks import mask_to_box

CAST = actors()
NAMES = labels_of(CAST)


@cache
def every() -> list[MadeFrame]:
    return list(make_frames(CAST))


def answers(ids: dict[str, int], *, until: int = FRAMES) -> list[TrackedInstances]:
    """What is true, under these ids; nothing from a frame on."""
    found = []
    for index, frame in enumerate(every()):
        seen = [name for name in NAMES if frame.visible[name].any() and index < until]
        masks = np.array([frame.visible[name] for name in seen], dtype=bool)
        masks = masks.reshape(-1, HEIGHT_PX, WIDTH_PX)
        numbers = np.ones(len(seen), dtype=np.float32)
        found.append(
            TrackedInstances(
                labels=[NAMES[name] for name in seen],
                scores=numbers,
                boxes=np.array([mask_to_box(mask) for mask in masks]).reshape(-1, 4),
                masks=masks,
                label_index=np.zeros(len(seen), dtype=np.int32),
                label_scores=numbers,
                predicted_ious=numbers,
                stability_scores=numbers,
                ids=np.array([ids[name] for name in seen], dtype=np.int32),
                frame_index=index,
                frame_name="",
                encoded=True,
            )
        )
    return found


def test_each_object_is_wholly_hidden_for_a_while_and_comes_back() -> None:
    assert set(NAMES.values()) == {"dog", "cat"}
    for name in NAMES:
        shares = [frame.visible[name].sum() / frame.whole[name] for frame in every()]
        assert min(shares[0], shares[-1]) > 0.5
        assert sum(share < 0.02 for share in shares) >= 5


def test_it_is_the_same_each_time() -> None:
    again = next(make_frames(CAST))
    assert np.array_equal(again.pixels, every()[0].pixels)


def test_truth_scores_best() -> None:
    right = answers({name: place for place, name in enumerate(NAMES, 1)})
    score = score_answers(every(), right, names=NAMES)
    assert (score.found, score.mean_iou, score.ids_kept) == (1, pytest.approx(1), 1)


def test_ids_that_are_changed_are_not_kept() -> None:
    ids = {name: place for place, name in enumerate(NAMES, 1)}
    swapped = {name: place + 3 for name, place in ids.items()}
    mixed = [*answers(ids)[: FRAMES // 2], *answers(swapped)[FRAMES // 2 :]]
    score = score_answers(every(), mixed, names=NAMES)
    assert score.found == 1
    assert 0.3 < score.ids_kept < 0.8


def test_what_is_not_found_counts() -> None:
    ids = {name: place for place, name in enumerate(NAMES, 1)}
    score = score_answers(every(), answers(ids, until=FRAMES // 2), names=NAMES)
    assert score.found == score.ids_kept == pytest.approx(score.mean_iou)
    assert 0.3 < score.found < 0.8
