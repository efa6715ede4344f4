"""The made video's truth, and how answers are compared with it."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from benchmarks.intervals import Estimate
from benchmarks.suite import Measuring
from benchmarks.table import Model
from benchmarks.video.made_video import FRAMES, HEIGHT_PX, WIDTH_PX, MadeFrame, actors, make_frames
from benchmarks.video.measure import score_answers
from samclip_sdk import TrackedInstances
from samclip_sdk.image.masks import mask_to_box
from tests.benchmarks.measured import cells, measure, shown

ACTORS = actors()
CAST = [each for each in ACTORS if each.label]
IDS = {each.name: index for index, each in enumerate(CAST, 1)}


@cache
def every() -> list[MadeFrame]:
    return list(make_frames(ACTORS))


def answers(ids: dict[str, int], *, until: int = FRAMES) -> list[TrackedInstances]:
    """What is true, under these ids; nothing from a frame on."""
    found = []
    for index, frame in enumerate(every()):
        seen = [each for each in CAST if frame.visible[each.name].any() and index < until]
        masks = np.array([frame.visible[each.name] for each in seen], dtype=bool)
        masks = masks.reshape(-1, HEIGHT_PX, WIDTH_PX)
        numbers = np.ones(len(seen), dtype=np.float32)
        found.append(
            TrackedInstances(
                labels=[each.label for each in seen],
                scores=numbers,
                boxes=np.array([mask_to_box(mask) for mask in masks]).reshape(-1, 4),
                masks=masks,
                label_index=np.zeros(len(seen), dtype=np.int32),
                label_scores=numbers,
                predicted_ious=numbers,
                stability_scores=numbers,
                ids=np.array([ids[each.name] for each in seen], dtype=np.int32),
                frame_index=index,
                frame_name="",
                encoded=True,
            )
        )
    return found


@pytest.mark.slow
def test_each_object_is_wholly_hidden_for_a_while_and_comes_back() -> None:
    for actor in CAST:
        whole = actor.cutout[1].sum()
        shares = [frame.visible[actor.name].sum() / whole for frame in every()]
        assert min(shares[0], shares[-1]) > 0.5
        assert sum(share < 0.02 for share in shares) >= 5


def test_it_is_the_same_each_time() -> None:
    again = next(make_frames(ACTORS))
    assert np.array_equal(again.pixels, every()[0].pixels)


def test_what_is_found_and_kept() -> None:
    """The truth, ids that are changed in the middle, and nothing from there on."""
    score = score_answers(every(), answers(IDS), CAST)
    assert score == {"found": 1, "mean_iou": pytest.approx(1), "ids_kept": 1, "ids": 3}
    swapped = {name: index + 3 for name, index in IDS.items()}
    mixed = [*answers(IDS)[: FRAMES // 2], *answers(swapped)[FRAMES // 2 :]]
    score = score_answers(every(), mixed, CAST)
    assert (score["found"], score["ids"]) == (1, 6)
    assert 0.3 < score["ids_kept"] < 0.8
    score = score_answers(every(), answers(IDS, until=FRAMES // 2), CAST)
    assert score["found"] == score["ids_kept"] == pytest.approx(score["mean_iou"])
    assert 0.3 < score["found"] < 0.8
    assert "ids" not in score_answers(every(), [[] for _ in every()], CAST)


def test_the_table() -> None:
    figures = {"frames_per_second": 9, "times_segment_text": Estimate(2, 1, 3)}
    figures |= {"found": 0.5, "mean_iou": 0.25}

    def work(measured: Measuring) -> None:
        measured.settings |= {"threads": 1, "frames": 120, "objects": 3, "rounds": 2}
        measured.model = Model(name="toy", revision="1", runtime="onnx", precision="fp32")
        measured.add("segment_text", **figures)

    text = shown("video", measure(work, suite="video"))
    assert cells(text, "segment_text") == ["9.0", "2.00 (1.00–3.00)", "50.0", "25.0", "–", "–"]
