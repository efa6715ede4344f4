from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from samclip_sdk.bundle.manifest import Calibration
from samclip_sdk.engine import label_points, label_prompts, label_search, text_to_mask
from samclip_sdk.engine.label_search import FoundLabels
from samclip_sdk.engine.options import TextToMaskOptions
from samclip_sdk.engine.text_to_mask import BACKGROUND, Drafts
from samclip_sdk.picture.frame import Frame, covered_cells
from samclip_sdk.results.text_masks import TextMasks
from tests.source_tree import FOLDERS, ROOT

SIDE = 8
frames = st.builds(
    lambda height, width: Frame.fit(height, width, resolution=64),
    st.integers(1, 300),
    st.integers(1, 300),
)
seeds = st.integers(0, 2**40)


def random_maps(count: int, *, seed: int, spread: float = 3.0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return (spread * generator.standard_normal((count, SIDE, SIDE))).astype(np.float32)


def calibration(scale: float, bias: float) -> Calibration:
    return Calibration(
        scale=scale,
        bias=bias,
        mask_threshold_score=0.6,
        presence_threshold=0.5,
        head_only_threshold=0.5,
    )


OPTIONS = TextToMaskOptions(
    presence_threshold=0.5,
    mask_threshold=0,
    points_per_class=3,
    refine=True,
)


def test_scores_are_calibrated_cosines() -> None:
    patches = np.zeros((1, 4, 2), np.float32)
    patches[0, :, 0] = [1, 0, -1, 0.5]
    text = np.array([[1, 0]], np.float32)
    maps = label_search.score_maps(patches, text_embeddings=text, calibration=calibration(10, 0.25))
    np.testing.assert_allclose(maps, [[[7.5, -2.5], [-12.5, 2.5]]])
    assert maps.dtype == np.float32


@given(frame=frames, seed=seeds)
@settings(max_examples=25, deadline=None)
def test_a_label_does_not_depend_on_the_others(frame: Frame, seed: int) -> None:
    generator = np.random.default_rng(seed)
    patches = generator.standard_normal((1, SIDE * SIDE, 48)).astype(np.float32)
    text = generator.standard_normal((7, 48)).astype(np.float32)

    def run(chosen: list[int]) -> list[tuple[np.ndarray, ...]]:
        found = label_search.find_labels(
            patches,
            text_embeddings=text[chosen],
            frame=frame,
            calibration=calibration(0.5, 0.1),
            threshold=0,
        )
        asked = label_prompts.label_prompts(
            found,
            frame=frame,
            options=OPTIONS,
            calibration=calibration(0.5, 0.1),
            mask_side=16,
        )
        prompts, answers = asked.prompts, []
        for label, points in enumerate(asked.points):
            used = prompts.point_labels[label] != -2
            coords = prompts.point_coords[label][used]
            kinds = prompts.point_labels[label][used]
            answers.append((points, coords, kinds, prompts.mask_input[label], asked.maps[label]))
        return [
            (*parts, *answer)
            for *parts, answer in zip(found.score_maps, found.presence, answers, strict=True)
        ]

    together = run(list(range(7)))
    for index in range(7):
        for alone, beside in zip(run([index])[0], together[index], strict=True):
            np.testing.assert_array_equal(alone, beside)
    for alone, beside in zip(run([6, 2])[1], together[2], strict=True):
        np.testing.assert_array_equal(alone, beside)


@given(frame=frames, seed=seeds, count=st.integers(1, 5), threshold=st.floats(0.01, 0.99))
@settings(max_examples=100, deadline=None)
def test_points_lie_in_the_image(frame: Frame, seed: int, count: int, threshold: float) -> None:
    score_map = random_maps(1, seed=seed)[0]
    rows, columns = covered_cells(frame, side=SIDE)
    score_map[rows:] = 50
    score_map[:, columns:] = 50
    points = label_points.best_points(score_map, frame=frame, count=count, threshold=threshold)
    assert 1 <= len(points) <= count
    assert points.dtype == np.float32
    assert (points >= 0).all()
    upright = frame.to_image(points)
    assert (upright < (frame.width_px, frame.height_px)).all()
    cells = np.floor((points + 0.5) * SIDE / 64).astype(int)
    assert len(np.unique(cells, axis=0)) == len(points)
    chosen = 1 / (1 + np.exp(-score_map[cells[:, 1], cells[:, 0]]))
    best = 1 / (1 + np.exp(-score_map[:rows, :columns].max()))
    assert (chosen > threshold - 1e-6).all() or chosen == pytest.approx([best])


def test_points_are_the_best_cells_and_of_equal_ones_the_first() -> None:
    frame = Frame.fit(64, 64, resolution=64)
    score_map = np.full((SIDE, SIDE), -9, np.float32)
    score_map[7, 7], score_map[0, 3], score_map[2, 1], score_map[2, 0] = 3, 1, 1, -1

    def points(count: int) -> list[list[float]]:
        found = label_points.best_points(score_map, frame=frame, count=count, threshold=0.5)
        return ((found + 0.5) * SIDE / 64 - 0.5).tolist()

    assert points(1) == [[7, 7]]
    assert points(2) == [[7, 7], [3, 0]]
    assert points(5) == [[7, 7], [3, 0], [1, 2]]  # the fourth is below the threshold


def test_the_scores_are_added_to_the_decoders_logits() -> None:
    frame = Frame.fit(32, 64, resolution=64)
    maps = np.stack([np.full((SIDE, SIDE), score, np.float32) for score in (4, -30)])
    found = label_search.FoundLabels(maps, np.ones(2, np.float32), np.array([0, 1], np.int32))
    asked = label_prompts.label_prompts(
        found, frame=frame, options=OPTIONS, calibration=calibration(1, 0), mask_side=16
    )
    low_res = np.ones((2, 1, 16, 16), np.float32)
    for weight, bias, inside, padding in (
        (0.0, 0.0, [1, 1], [1, 1]),
        (0.5, 0.0, [3, -4], [-4, -4]),
        (0.5, 1.5, [4.5, -2.5], [-2.5, -2.5]),
    ):
        own = calibration(1, 0).model_copy(update={"map_weight": weight, "mask_bias": bias})
        drafts = text_to_mask.refined(
            low_res,
            np.zeros((2, 1), np.float32),
            asked=asked,
            frame=frame,
            calibration=own,
            mask_threshold=0.0,
        )
        assert drafts.low_res[:, 0, 0].tolist() == inside
        assert drafts.low_res[:, 15, 0].tolist() == padding


def test_a_label_is_asked_for_by_the_box_around_its_parts_and_their_best_cells() -> None:
    frame = Frame.fit(64, 64, resolution=64)
    score_map = np.full((SIDE, SIDE), -5, np.float32)
    score_map[1:3, 0:2], score_map[6, 5:7], score_map[4, 7] = 2, 3, 0.45  # the last has no peak
    found = label_search.FoundLabels(score_map[None], np.ones(1, np.float32), np.array([0]))
    asked = label_prompts.label_prompts(
        found,
        frame=frame,
        options=OPTIONS,
        calibration=calibration(1, 0).model_copy(update={"presence_threshold": 0.7}),
        mask_side=16,
    )
    (coords,), (kinds,) = asked.prompts.point_coords, asked.prompts.point_labels
    assert coords[kinds >= 2].tolist() == [[0, 8], [56, 56]]
    cells = (asked.points[0] + 0.5) // 8
    assert cells.tolist() == [[5, 6], [6, 6], [0, 1]]
    low_res = np.full((1, 1, 16, 16), -1, np.float32)
    low_res[0, 0, :4, :4] = 1
    drafts = text_to_mask.refined(
        low_res,
        np.array([[0.8]], np.float32),
        asked=asked,
        frame=frame,
        calibration=calibration(1, 0),
        mask_threshold=0.0,
    )
    np.testing.assert_array_equal(drafts.low_res, low_res[:, 0])
    assert drafts.scores.tolist() == pytest.approx([0.8])
    np.testing.assert_allclose(drafts.points[0], frame.to_image(asked.points[0]))


@given(frame=frames, seed=seeds, threshold=st.floats(0.01, 0.99))
@settings(max_examples=50, deadline=None)
def test_the_box_of_a_label_is_around_its_points_in_the_image(
    frame: Frame, seed: int, threshold: float
) -> None:
    found = label_search.FoundLabels(
        random_maps(1, seed=seed), np.ones(1, np.float32), np.array([0])
    )
    own = calibration(1, 0).model_copy(update={"mask_threshold_score": threshold})
    asked = label_prompts.label_prompts(
        found, frame=frame, options=OPTIONS, calibration=own, mask_side=16
    )
    for coords, kinds, points in zip(
        asked.prompts.point_coords, asked.prompts.point_labels, asked.points, strict=True
    ):
        (left, top), (right, bottom) = coords[kinds >= 2]
        assert 0 <= left < right <= frame.resized_width_px
        assert 0 <= top < bottom <= frame.resized_height_px
        assert (points >= (left, top)).all()
        assert (points <= (right, bottom)).all()


def test_presence_ignores_the_padding() -> None:
    frame = Frame.fit(32, 64, resolution=64)
    maps = np.full((1, SIDE, SIDE), -2, np.float32)
    maps[0, 4:] = 30
    np.testing.assert_allclose(label_search.presence_of(maps, frame=frame), [0.1192029], rtol=1e-5)
    maps[0, 3, 7] = 2
    np.testing.assert_allclose(label_search.presence_of(maps, frame=frame), [0.8807971], rtol=1e-5)


@given(frame=frames)
@settings(max_examples=50, deadline=None)
def test_covered_cells_are_the_token_mask(frame: Frame) -> None:
    rows, columns = covered_cells(frame, side=16)
    expected = np.zeros((1, 16, 16))
    expected[:, :rows, :columns] = 1
    np.testing.assert_array_equal(frame.token_mask(patch_size=4), expected)


def test_mask_prompt_is_clipped_bilinear_and_minus_ten_in_the_padding() -> None:
    frame = Frame.fit(32, 64, resolution=64)
    score_map = np.tile(np.arange(SIDE, dtype=np.float32) * 4 - 14, (SIDE, 1))
    score_map[4:] = 99
    prompt = label_prompts.mask_prompt(score_map, frame=frame, side=16)
    assert (prompt[8:] == -10).all()
    clipped = np.clip(np.arange(SIDE) * 4 - 14, -10, 10)
    expected = np.interp((np.arange(16) + 0.5) / 2 - 0.5, np.arange(SIDE), clipped)
    np.testing.assert_allclose(prompt[:8], np.tile(expected, (8, 1)), atol=1e-5)


def compose(low_res: np.ndarray, *, present: list[int], frame: Frame) -> TextMasks:
    count = len(present)
    return text_to_mask.compose(
        Drafts(
            low_res=low_res,
            scores=np.arange(count, dtype=np.float32) / 10,
            points=[np.full((1, 2), place, np.float32) for place in range(count)],
        ),
        found=FoundLabels(
            score_maps=np.zeros((8, 2, 2), np.float32),
            presence=np.zeros(8, np.float32),
            present=np.array(present, np.int32),
        ),
        labels=[f"label {index}" for index in range(8)],
        frame=frame,
        mask_threshold=0,
    )


def test_every_pixel_takes_its_highest_label_or_none() -> None:
    logits = np.array([[[1, 2, -1, 0]] * 4, [[3, 1, -2, 0]] * 4, [[3, 9, 5, 0]] * 4], np.float32)
    result = compose(logits, present=[0, 4, 7], frame=Frame.fit(4, 4, resolution=4))
    assert result.class_map.tolist() == [[4, 7, 7, BACKGROUND]] * 4
    np.testing.assert_array_equal(result.masks, logits > 0)
    assert result.labels == ("label 0", "label 4", "label 7")
    assert result.scores == pytest.approx([0, 0.1, 0.2])
    assert [each.tolist() for each in result.points] == [[[0, 0]], [[1, 1]], [[2, 2]]]


def test_nothing_present_is_all_background() -> None:
    frame = Frame.fit(2, 3, resolution=4)
    result = compose(np.zeros((0, 4, 4), np.float32), present=[], frame=frame)
    assert result.masks.shape == (0, 2, 3)
    assert (result.class_map == BACKGROUND).all()
    assert len(result) == 0


def test_the_rule_of_points_names_every_place_that_changes_with_it() -> None:
    suffixes = {".py", ".swift", ".kt", ".js", ".ts", ".c"}
    home = "samclip_sdk/engine/label_points.py"
    told = set(re.findall(r"`([\w./-]+/[\w./-]+)`", label_points.points_and_box.__doc__ or ""))
    files = [
        path
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("*")
        if path.suffix in suffixes
        and not {"node_modules", "build", ".build", "tests"} & set(path.relative_to(ROOT).parts)
    ]
    found = {
        path.relative_to(ROOT).as_posix()
        for path in files
        if path.is_file() and "points_and_box" in path.read_text(encoding="utf-8")
    }
    assert found - {home} == told


def test_padding_takes_the_edge_of_the_image() -> None:
    maps = np.arange(16, dtype=np.float32).reshape(1, 4, 4)
    wide = Frame.fit(32, 64, resolution=64)
    extended = label_prompts.extend_into_padding(maps, frame=wide)
    assert extended[0].tolist() == [[0, 1, 2, 3], [4, 5, 6, 7], [4, 5, 6, 7], [4, 5, 6, 7]]
