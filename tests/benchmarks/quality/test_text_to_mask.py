from __future__ import annotations

import numpy as np
import pytest

from benchmarks.quality.scores import TextTally
from training.asked_pictures import ask_scene
from training.composed.label_questions import Question, pose_question
from training.composed.scenes import Scene

NOUNS = [f"noun {number}" for number in range(10)]


def quadrants(labels: list[int], *, unlabelled: tuple[int, ...] = ()) -> Scene:
    """Up to four objects, each a quadrant of an 8 x 8 picture."""
    masks = np.zeros((4, 8, 8), bool)
    masks[0, :4, :4] = masks[1, :4, 4:] = masks[2, 4:, :4] = masks[3, 4:, 4:] = True
    count = len(labels)
    return Scene(
        image=np.zeros((8, 8, 3), np.uint8),
        masks=masks[:count],
        labels=np.array(labels),
        boxes=np.zeros((count, 4), np.float32),
        unlabelled=np.array(unlabelled, np.int64),
    )


def circle(angles: list[float]) -> np.ndarray:
    radians = np.deg2rad(angles)
    return np.stack([np.cos(radians), np.sin(radians)], axis=1).astype(np.float32)


def test_a_question_asks_the_nearest_absent_label_and_four_more() -> None:
    embeddings = circle([0, 100, 10, 170, 200, 95, 250, 300, 130, 40])
    scene = quadrants([0, 1, 1], unlabelled=(5,))
    question = pose_question(scene, text_embeddings=embeddings, rng=np.random.default_rng(0))
    assert question.present == (0, 1)  # once each
    # 5 is the nearest of all, but the photo behind may show it; 2 is 10 degrees from 0.
    assert question.absent[0] == 2
    assert len(set(question.absent)) == 5
    assert not set(question.absent) & {0, 1, 5}
    again = pose_question(scene, text_embeddings=embeddings, rng=np.random.default_rng(0))
    assert again == question
    drawn = {
        noun
        for seed in range(30)
        for noun in pose_question(
            scene, text_embeddings=embeddings, rng=np.random.default_rng(seed)
        ).absent
    }
    assert drawn == {2, 3, 4, 6, 7, 8, 9}


def test_miou_counts_a_mask_for_an_absent_label_as_zero() -> None:
    nothing = np.zeros((8, 8), bool)
    whole = ~nothing
    left = nothing.copy()
    left[:, :4] = True
    tally = TextTally()
    # Label 7 is quadrants 0 and 2, found exactly as their union; 8 is missed; 9 is half of
    # what is said to be it. Absent: the nearest gets a mask, one more does, two do not.
    scene = quadrants([7, 8, 7, 9])
    half = nothing.copy()
    half[4:, :] = True
    masks = (left, nothing, half, whole, nothing, left, nothing)
    asked = ask_scene(scene, Question((7, 8, 9), (1, 2, 3, 4)), nouns=NOUNS)
    assert asked.labels == ("noun 7", "noun 8", "noun 9", "noun 1", "noun 2", "noun 3", "noun 4")
    tally.add(masks, truth=asked.masks)
    row = tally.row(heads="both_heads", split="heldout_instance")
    assert (row.scenes, row.present, row.absent) == (1, 3, 4)
    assert row.miou == pytest.approx((1 + 0 + 0.5) / (3 + 2))
    assert row.recall == pytest.approx(2 / 3)
    assert row.iou_found == pytest.approx(0.75)
    assert row.false_positive_rate == pytest.approx(2 / 4)
    assert row.nearest_false_positive_rate == 1
    # A second scene: all right, and no false mask. Labels are pooled, not scenes averaged.
    tally.add((scene.masks[0], *[nothing] * 5), truth=scene.masks[:1])
    row = tally.row(heads="both_heads", split="heldout_instance")
    assert row.miou == pytest.approx(2.5 / (4 + 2))
    assert row.false_positive_rate == pytest.approx(2 / 9)
    assert row.nearest_false_positive_rate == pytest.approx(1 / 2)


def test_a_model_that_finds_nothing_scores_nothing() -> None:
    tally = TextTally()
    tally.add([np.zeros((8, 8), bool)] * 2, truth=quadrants([0]).masks)
    row = tally.row(heads="clip_head", split="openmoji")
    assert (row.miou, row.recall, row.iou_found, row.false_positive_rate) == (0, 0, None, 0)
