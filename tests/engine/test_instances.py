"""Components, peaks, prompts and objects of score maps by hand; then the verb on known answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from samclip_sdk import Instances, SamClip
from samclip_sdk.engine import instances
from samclip_sdk.engine.label_search import find_parts
from samclip_sdk.engine.object_candidates import (
    MAX_CANDIDATES,
    MAX_POINTS,
    PROMINENCE,
    chosen_masks,
    find_candidates,
    find_peaks,
)
from samclip_sdk.engine.objects import FoundObject, compose_instances
from samclip_sdk.picture.frame import Frame
from samclip_sdk.picture.packed_masks import PackedMask
from samclip_sdk.runtimes.session import Arrays
from tests.fake_source import FakeSource, fake_client, picture

SIDE = 8
SQUARE = Frame.fit(64, 64, resolution=64)
WIDE = Frame.fit(40, 64, resolution=64)  # rows 0 to 4 of 8 hold the picture
LABELS = ["zebra", "dog", "cat"]


def score_map(text: str) -> np.ndarray:
    """A map [8,8] out of digits, row by row; a dot is -9, and what is missing too."""
    found = np.full((SIDE, SIDE), -9, dtype=np.float32)
    for row, line in enumerate(text.split()):
        for column, digit in enumerate(line):
            found[row, column] = -9 if digit == "." else int(digit)
    return found


def components_of(scores: np.ndarray, *, frame: Frame = SQUARE, **asked: Any) -> np.ndarray:
    return find_parts(scores, frame=frame, **{"threshold": 0.6, "presence_threshold": 0.9} | asked)


def peaks_of(scores: np.ndarray, *, frame: Frame = SQUARE) -> list[list[int]]:
    components = components_of(scores, frame=frame)
    found: list[list[int]] = find_peaks(scores, components=components, frame=frame).tolist()
    return found


class TestPeaks:
    def test_the_highest_comes_first(self) -> None:
        scores = score_map("5......7  ........  ........  3.......")
        assert peaks_of(scores) == [[0, 7], [0, 0], [3, 0]]

    def test_each_component_has_one_whatever_is_beside_it(self) -> None:
        scores = score_map("9.3.....")
        scores[0, 1] = 0.3  # below the threshold, and smoothed above what is behind it
        assert peaks_of(scores) == [[0, 0], [0, 2]]

    @given(seed=st.integers(0, 2**32))
    @settings(max_examples=8)
    def test_summits_are_those_of_sinking_water(self, seed: int) -> None:
        """Against the definition, level by level: islands at every height."""
        scores = np.random.default_rng(seed).normal(scale=4, size=(SIDE, SIDE)).astype(np.float32)
        components = np.ones((SIDE, SIDE), dtype=np.int32)
        found = {tuple(each) for each in find_peaks(scores, components=components, frame=SQUARE)}
        smooth = cv2.GaussianBlur(scores, (3, 3), 0, borderType=cv2.BORDER_REPLICATE)
        expected = set()
        for cell in np.ndindex(SIDE, SIDE):
            # Of all levels on which the cell is its island's highest, the lowest.
            levels = [
                level
                for level in np.unique(smooth[smooth <= smooth[cell]])
                if smooth[island(smooth >= level, cell)].max() == smooth[cell]
            ]
            if not levels:
                continue
            below = smooth[smooth < levels[0]]
            saddle = below.max() if below.size else -np.inf
            if smooth[cell] - saddle >= PROMINENCE:
                expected.add(cell)
        assert found == expected


def island(above: np.ndarray, cell: tuple[int, ...]) -> np.ndarray:
    _, parts = cv2.connectedComponents(above.astype(np.uint8), connectivity=8)
    return parts == parts[cell]


class TestCandidates:
    def candidates(
        self, scores: np.ndarray, *, frame: Frame = SQUARE, points_per_class: int = 1
    ) -> Any:
        return find_candidates(
            scores,
            frame=frame,
            threshold=0.6,
            presence_threshold=0.9,
            points_per_class=points_per_class,
            mask_side=16,
        )

    def test_of_several_each_is_asked_alone_and_among_the_others(self) -> None:
        found = self.candidates(score_map("9......7  ........  ........  3......."))
        labels = found.prompts.point_labels
        assert labels.tolist() == [[1, -2, -2, -1]] * 3 + [[1, 0, 0, -1]] * 3
        coords = found.prompts.point_coords
        assert coords[:, 0].tolist() == [[3.5, 3.5], [59.5, 3.5], [3.5, 27.5]] * 2
        assert coords[3, 1:3].tolist() == [[3.5, 27.5], [59.5, 3.5]]  # the nearest first

    def test_more_points_are_the_best_cells_that_are_nearest(self) -> None:
        found = self.candidates(
            score_map("98......  ........  ........  3......."), points_per_class=3
        )
        labels = found.prompts.point_labels
        assert labels.tolist() == [
            [1, 1, -2, -2, -1],
            [1, -2, -2, -2, -1],
            [1, 1, -2, 0, -1],
            [1, -2, -2, 0, -1],
        ]
        coords = found.prompts.point_coords
        assert coords[2, :2].tolist() == [[3.5, 3.5], [11.5, 3.5]]
        assert coords[2, 3].tolist() == [3.5, 27.5]

    def test_other_components_are_at_the_low_bound_of_the_mask(self) -> None:
        found = self.candidates(score_map("99....99 99....99"))
        left, right = found.maps[0], found.maps[1]
        assert left[:3, :3].min() > 8
        assert (left[:3, 13:] == -10).all()
        assert (right[:3, :3] == -10).all()
        assert right[:3, 13:].min() > 8
        np.testing.assert_array_equal(found.prompts.mask_input[:, 0], found.maps)
        np.testing.assert_array_equal(found.maps[:2], found.maps[2:])

    def test_of_many_peaks_the_nearest_are_given_and_the_highest_followed(self) -> None:
        scores = np.full((24, 24), -9, dtype=np.float32)
        scores[::2, ::2] = np.arange(144).reshape(12, 12) / 20 + 3
        found = find_candidates(
            scores,
            frame=SQUARE,
            threshold=0.6,
            presence_threshold=0.9,
            points_per_class=1,
            mask_side=96,
        )
        assert len(found.prompts) == 2 * MAX_CANDIDATES
        assert found.prompts.point_labels.shape[1] == MAX_POINTS + 1 == 16
        first = found.prompts.point_coords[MAX_CANDIDATES]
        distances = np.linalg.norm(first[1:MAX_POINTS] - first[0], axis=1)
        assert (np.diff(distances) > -1e-4).all()


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
        patches[:2, 0] = patches[:1, 3] = self.vector("dog")
        patches[2, 1:3] = self.vector("cat")
        return {**super()._clip_head(feed), "patch_embeddings": patches.reshape(1, -1, 256)}


def test_a_row_an_object_the_best_first(tmp_path: Path) -> None:
    source = TwoDogs(tmp_path)
    found = SamClip(source).segment_instances(picture(100, 100), LABELS)
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
    # One call for each label that is there.
    assert source.runs("mask_decoder") == 2


def test_nothing_found_is_a_result(tmp_path: Path) -> None:
    model, source = fake_client(tmp_path)
    found = model.segment_instances(picture(), "zebra")
    assert (len(found), found.masks.shape, found.boxes.shape) == (0, (0, 50, 100), (0, 4))
    assert "mask_decoder" not in source.sessions
    found.save(tmp_path / "none.png")


@given(others=st.lists(st.sampled_from(["cat", "zebra", "a", "b", "c"]), unique=True))
@settings(max_examples=8)
def test_a_label_is_answered_as_if_alone(
    others: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    model = SamClip(TwoDogs(tmp_path_factory.mktemp("model")))
    image = model.encode_image(picture(100, 100))
    alone = model.segment_instances(image, ["dog"], threshold=0)
    beside = model.segment_instances(image, [*others, "dog"], threshold=0)
    rows = [place for place, label in enumerate(beside.labels) if label == "dog"]
    assert len(rows) == len(alone) > 0
    for name in ("masks", "scores", "boxes", "label_scores", "predicted_ious", "stability_scores"):
        np.testing.assert_array_equal(getattr(beside, name)[rows], getattr(alone, name))


def test_at_most_so_many_the_best(tmp_path: Path) -> None:
    model = SamClip(TwoDogs(tmp_path))
    image = model.encode_image(picture(100, 100))
    every = model.segment_instances(image, LABELS)
    for count in (1, 2, np.int64(3), 9):
        some = model.segment_instances(image, LABELS, max_instances=count)  # type: ignore[arg-type]
        assert len(some) == min(count, 3)
        np.testing.assert_array_equal(some.masks, every.masks[:count])


def test_what_scores_little_beside_the_best_of_its_label_is_no_object(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = SamClip(TwoDogs(tmp_path))
    image = model.encode_image(picture(100, 100))
    best, other = model.segment_instances(image, "dog").scores.tolist()
    assert best > other
    for share, left in ((0.99 * other / best, [best, other]), (1.01 * other / best, [best])):
        monkeypatch.setattr(instances, "LEAST_SHARE", share)
        assert model.segment_instances(image, "dog").scores.tolist() == left


def test_a_predicted_iou_above_one_is_told_as_one() -> None:
    mask = PackedMask.pack(np.ones((2, 2), np.bool_), top=0, left=0)
    above = FoundObject(mask, 1.05, 1.05, 1.0, 0, 0.5)
    found = compose_instances([above], labels=["dog"], size=(4, 4))
    assert (found.scores[0], found.predicted_ious[0]) == (1.0, 1.0)
