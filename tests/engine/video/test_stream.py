"""Frames through a model whose answers are known; then what is in memory after thousands."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from samclip_sdk import ImageError, SamClip, TrackedInstances
from samclip_sdk.engine.options import TextToMaskOptions
from samclip_sdk.engine.video import stream as stream_module
from samclip_sdk.engine.video.coco_video import CocoVideoWriter
from samclip_sdk.engine.video.motion import SIDE, Motion
from samclip_sdk.engine.video.stream import known_candidates
from samclip_sdk.engine.video.tracks import FrameDetections, Tracks
from samclip_sdk.image.frame import Frame
from tests.engine.video.made_films import moving
from tests.fake_source import FakeSource, sample_image
from tests.refusals import refused

LABELS = ["zebra", "dog", "cat"]


def test_objects_are_those_of_segment_text_and_keep_their_ids(
    both: tuple[SamClip, FakeSource],
) -> None:
    model, _ = both
    frames = list(model.stream([sample_image()] * 4, LABELS))
    alone = model.segment_instances(sample_image(), LABELS)
    for index, found in enumerate(frames):
        assert isinstance(found, TrackedInstances)
        assert (found.frame_index, found.frame_name, found.encoded) == (index, str(index), True)
        assert sorted(found.labels) == sorted(alone.labels) == ["cat", "dog"]
        assert found.ids.tolist() == frames[0].ids.tolist()
        order = [found.labels.index(label) for label in alone.labels]
        assert np.array_equal(found.masks[order], alone.masks)
        assert found.scores[order] == pytest.approx(alone.scores, rel=1e-5)
    assert sorted(frames[0].ids.tolist()) == [1, 2]


@pytest.mark.parametrize(("every", "looks"), [(1, 7), (2, 4), (3, 3), (9, 1)])
def test_the_model_looks_at_every_nth_frame(
    both: tuple[SamClip, FakeSource], every: int, looks: int
) -> None:
    model, source = both
    frames = list(model.stream(moving(7), LABELS, encode_every=every))
    assert source.runs("image_encoder@64") == source.runs("clip_head@64") == looks
    assert [each.encoded for each in frames] == [index % every == 0 for index in range(7)]
    assert all(each.ids.tolist() == frames[0].ids.tolist() for each in frames)


def test_masks_move_with_the_image(both: tuple[SamClip, FakeSource]) -> None:
    """The image goes to the left by a pixel a frame, and the cat with it."""
    model, _ = both
    frames = list(model.stream(moving(13), ["cat"], encode_every=13))
    lefts = [each.boxes[0, 0] for each in frames]
    assert lefts[0] - lefts[12] == pytest.approx(12, abs=3)
    assert all(after <= before for before, after in pairwise(lefts))


def test_after_a_cut_the_model_looks_at_once(both: tuple[SamClip, FakeSource]) -> None:
    model, _ = both
    other = np.full((50, 100, 3), 255, dtype=np.uint8)
    other[::2, 40:] = 0
    frames = [*moving(3), other, other]
    assert [each.encoded for each in model.stream(frames, LABELS, encode_every=9)] == [
        *(True, False, False),
        *(True, False),
    ]


def test_after_a_cut_the_motion_before_it_counts_no_more(
    both: tuple[SamClip, FakeSource], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The flow over the cut is that of two scenes, and says nothing of an object's speed."""
    over_the_cut = Motion(np.full((SIDE, SIDE, 2), 9, np.float32), cut=True)
    monkeypatch.setattr(stream_module, "find_motion", lambda *frames: over_the_cut)
    speeds: list[np.ndarray] = []
    update = Tracks.update

    def noted(tracks: Tracks, look: FrameDetections) -> None:
        speeds.append(look.moved)
        update(tracks, look)

    monkeypatch.setattr(Tracks, "update", noted)
    model, _ = both
    list(model.stream([sample_image()] * 2, LABELS))
    assert len(speeds) == 2
    assert not speeds[1].any()


def test_what_is_wrong_with_a_frame_is_raised_at_its_place(
    both: tuple[SamClip, FakeSource], tmp_path: Path
) -> None:
    model, _ = both
    refused(lambda: model.stream(tmp_path / "none.mp4", LABELS), ImageError, "none.mp4")
    frames = model.stream([sample_image(), sample_image(40, 100)], LABELS)
    next(frames)
    refused(lambda: next(frames), ImageError, "100 x 40")


def test_a_known_object_is_asked_for_where_its_label_still_is() -> None:
    frame = Frame.fit(64, 64, resolution=64)
    options = TextToMaskOptions(0.5, 0.0, 1, True)
    scores = np.full((4, 4), -9, dtype=np.float32)
    scores[1, 1], scores[3, 3] = 2, 3
    masks = np.full((2, 16, 16), -5, dtype=np.float32)
    masks[0, 2:8, 2:8] = masks[1, 0:8, 8:16] = 5
    found = known_candidates(masks, score_map=scores, frame=frame, options=options)
    assert found is not None
    assert len(found.prompts) == 1
    assert found.prompts.point_coords[0, 0].tolist() == [23.5, 23.5]
    assert np.array_equal(found.prompts.mask_input[0, 0], masks[0])
    assert known_candidates(masks[1:], score_map=scores, frame=frame, options=options) is None
    assert known_candidates(masks[:0], score_map=scores, frame=frame, options=options) is None


@pytest.mark.parametrize("count", [100, pytest.param(3_000, marks=pytest.mark.slow)])
def test_memory_does_not_grow_with_the_frames(
    both: tuple[SamClip, FakeSource], tmp_path: Path, count: int
) -> None:
    """Also what is written waits on the disk; the fake sessions alone note all that they saw."""
    model, source = both
    few = moving(8)

    def frames() -> Iterator[np.ndarray]:
        return (few[min(index % 14, 14 - index % 14)].copy() for index in range(count))

    grown = []
    with CocoVideoWriter(tmp_path / "a.json", labels=LABELS, name="a") as writer:
        for found in model.stream(frames(), LABELS, encode_every=20):
            writer.add(found)
            for session in source.sessions.values():
                session.feeds.clear()
            if found.frame_index == count // 2:
                tracemalloc.start()
        grown.append(tracemalloc.get_traced_memory()[0])
        tracemalloc.stop()
    assert grown[0] < 200_000  # 80,000 of it are there after a hundred frames
    coco = json.loads((tmp_path / "a.json").read_text())
    assert coco["videos"][0]["length"] == count
    assert [sum(map(bool, each["areas"])) for each in coco["annotations"]] == [count] * 2
