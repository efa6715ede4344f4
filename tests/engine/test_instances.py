"""Parts, prompts and objects of masks by hand; then the verb on known answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from samclip_sdk import Instances, SamClip
from samclip_sdk.engine import instances
from samclip_sdk.engine.object_candidates import (
    MAX_CANDIDATES,
    Candidates,
    chosen_masks,
    find_candidates,
)
from samclip_sdk.engine.objects import FoundObject, compose_rows
from samclip_sdk.image.frame import Frame
from samclip_sdk.image.packed_masks import PackedMask
from samclip_sdk.runtimes.session import Arrays
from tests.fake_source import FakeSource, fake_client, sample_image

SIDE = 8
SQUARE = Frame.fit(64, 64, resolution=64)
WIDE = Frame.fit(40, 64, resolution=64)  # rows 0 to 4 of 8 hold the image
LABELS = ["zebra", "dog", "cat"]


def score_map(text: str) -> np.ndarray:
    """A map [8,8] out of digits, row by row; a dot is -9, and what is missing too."""
    found = np.full((SIDE, SIDE), -9, dtype=np.float32)
    for row, line in enumerate(text.split()):
        for column, digit in enumerate(line):
            found[row, column] = -9 if digit == "." else int(digit)
    return found


class TestCandidates:
    """Masks of 16 x 16 pixels of 4 px, by hand."""

    def found(self, *parts: tuple[slice, slice], frame: Frame = SQUARE) -> Candidates:
        logits = np.full((16, 16), -4, np.float32)
        for part in parts:
            logits[part] = 3
        return find_candidates(logits, frame=frame, mask_threshold=0.0)

    def test_each_part_has_its_box_its_middle_and_the_mask_without_others(self) -> None:
        small, large = np.s_[1:6, 1:6], np.s_[8:15, 8:15]
        found = self.found(small, large)
        assert found.prompts.point_labels.tolist() == [[1, 2, 3]] * 2
        assert found.prompts.point_coords.tolist() == [
            [[45.5, 45.5], [32, 32], [60, 60]],
            [[13.5, 13.5], [4, 4], [24, 24]],
        ]
        first, second = found.maps
        assert (first[large] == 3).all()
        assert (first[small] == -10).all()
        assert (second[small] == 3).all()
        assert (second[large] == -10).all()
        assert first[0, 0] == second[0, 0] == -4
        np.testing.assert_array_equal(found.prompts.mask_input[:, 0], found.maps)

    def test_specks_and_the_padding_have_none(self) -> None:
        assert len(self.found(np.s_[0:8, 0:8], np.s_[10:14, 10:14]).prompts) == 1
        padded = self.found(np.s_[:, 0:8], frame=WIDE)
        assert padded.prompts.point_coords[0, 2].tolist() == [32, 40]
        assert (padded.maps[0, 10:] == -10).all()

    def test_parts_that_touch_at_a_corner_are_two(self) -> None:
        assert len(self.found(np.s_[0:8, 0:8], np.s_[8:16, 8:16]).prompts) == 2

    def test_an_empty_mask_has_none(self) -> None:
        found = self.found()
        assert len(found.prompts) == 0
        assert found.maps.shape == (0, 16, 16)

    def test_of_many_parts_the_largest_are_followed(self) -> None:
        logits = np.full((128, 128), -4, np.float32)
        for index in range(100):
            row, column = 12 * (index // 10), 12 * (index % 10)
            logits[row : row + 5, column : column + 5 + index % 3] = 3
        found = find_candidates(logits, frame=SQUARE, mask_threshold=0.0)
        assert len(found.prompts) == MAX_CANDIDATES
        areas = (found.maps > 0).sum(axis=(1, 2))
        assert (np.diff(areas) <= 0).all()


def test_the_mask_that_is_sure_and_fits_the_component() -> None:
    maps = np.full((2, 16, 16), -10, dtype=np.float32)
    maps[:, :8, :8] = 10
    low_res = np.full((2, 4, 16, 16), -10, dtype=np.float32)
    low_res[:, 0, :4, :8] = 10  # half of it
    low_res[:, 1, :8, :8] = 10  # all of it
    low_res[:, 2] = 10  # four times as much
    sure = np.array([[0.8, 0.5, 0.9, 1], [0.8, 0.3, 0.9, -3]], dtype=np.float32)
    masks, predicted = chosen_masks(low_res, sure, maps=maps, frame=SQUARE)
    assert predicted.tolist() == pytest.approx([0.5, 0.8])
    np.testing.assert_array_equal(masks, [low_res[0, 1], low_res[1, 0]])
    # What is drawn into the padding does not count.
    low_res[:, 1, 10:] = 10
    _, again = chosen_masks(low_res, sure, maps=maps, frame=WIDE)
    assert again.tolist() == predicted.tolist()


# --- the verb ----------------------------------------------------------------------------------


class TwoDogs(FakeSource):
    """A dog at the left, one at the right, and a cat in the middle of the lowest row."""

    def _clip_head(self, feed: Arrays) -> Arrays:
        grid = feed["token_mask"].shape[-1]
        patches = np.tile(self.vector("nothing at all"), (grid, grid, 1))
        patches[:3, 0] = patches[:2, 3] = self.vector("dog")
        patches[3, 1:3] = self.vector("cat")
        return {**super()._clip_head(feed), "patch_embeddings": patches.reshape(1, -1, 256)}


def test_a_row_an_object_the_best_first(tmp_path: Path) -> None:
    source = TwoDogs(tmp_path)
    found = SamClip(source).segment_instances(sample_image(100, 100), LABELS)
    assert isinstance(found, Instances)
    assert sorted(found.labels) == ["cat", "dog", "dog"]
    assert found.label_index.tolist() == [LABELS.index(label) for label in found.labels]
    assert (np.diff(found.scores) <= 0).all()
    assert found.scores == pytest.approx(
        found.label_scores * found.predicted_ious.clip(0, 1) * found.stability_scores
    )
    dogs = sorted((item for item in found if item.label == "dog"), key=lambda item: item.box[0])
    assert [item.box[0] > 50 for item in dogs] == [False, True]
    assert dogs[0].mask[:40, :20].mean() > 0.9
    assert not dogs[0].mask[:, 50:].any()
    assert dogs[1].mask[:15, 85:].mean() > 0.9
    assert not (dogs[0].mask & dogs[1].mask).any()
    assert found.label_scores.min() > 0.9
    assert {"prompts", "mask_decoder", "postprocess"} <= set(found.speed)
    # One call for each label that is there, and one for the dogs.
    assert source.runs("mask_decoder") == 3


def test_nothing_found_is_a_result(tmp_path: Path) -> None:
    model, source = fake_client(tmp_path)
    found = model.segment_instances(sample_image(), "zebra")
    assert (len(found), found.masks.shape, found.boxes.shape) == (0, (0, 50, 100), (0, 4))
    assert "mask_decoder" not in source.sessions
    found.save(tmp_path / "none.png")


@given(others=st.lists(st.sampled_from(["cat", "zebra", "a", "b", "c"]), unique=True))
@settings(max_examples=8)
def test_a_label_is_answered_as_if_alone(
    others: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    model = SamClip(TwoDogs(tmp_path_factory.mktemp("model")))
    image = model.encode_image(sample_image(100, 100))
    alone = model.segment_instances(image, ["dog"], threshold=0)
    beside = model.segment_instances(image, [*others, "dog"], threshold=0)
    rows = [index for index, label in enumerate(beside.labels) if label == "dog"]
    assert len(rows) == len(alone) > 0
    for name in ("masks", "scores", "boxes", "label_scores", "predicted_ious", "stability_scores"):
        np.testing.assert_array_equal(getattr(beside, name)[rows], getattr(alone, name))


def test_at_most_so_many_the_best(tmp_path: Path) -> None:
    model = SamClip(TwoDogs(tmp_path))
    image = model.encode_image(sample_image(100, 100))
    every = model.segment_instances(image, LABELS)
    for count in (1, 2, np.int64(3), 9):
        some = model.segment_instances(image, LABELS, max_instances=count)
        assert len(some) == min(count, 3)
        np.testing.assert_array_equal(some.masks, every.masks[:count])


def test_what_scores_little_beside_the_best_of_its_label_is_no_object(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = SamClip(TwoDogs(tmp_path))
    image = model.encode_image(sample_image(100, 100))
    best, other = model.segment_instances(image, "dog").scores.tolist()
    assert best > other
    for share, left in ((0.99 * other / best, [best, other]), (1.01 * other / best, [best])):
        monkeypatch.setattr(instances, "MIN_SHARE", share)
        assert model.segment_instances(image, "dog").scores.tolist() == left


def test_a_predicted_iou_above_one_is_told_as_one() -> None:
    mask = PackedMask.pack(np.ones((2, 2), np.bool_), top=0, left=0)
    above = FoundObject(mask, 1.05, 1.05, 1.0, 0, 0.5)
    found = compose_rows(Instances, [above], labels=["dog"], size=(4, 4))
    assert (found.scores[0], found.predicted_ious[0]) == (1.0, 1.0)
