from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from samclip_sdk.errors import PromptError
from samclip_sdk.image.frame import Frame
from samclip_sdk.image.image_prompts import image_prompts
from samclip_sdk.image.model_prompts import Prompts, text_prompts
from tests.refusals import refused

FRAME = Frame.fit(50, 100, resolution=64)
SIDE = 16


def prompts(points: Any = None, *, labels: Any = None, boxes: Any = None, mask: Any = None) -> Any:
    asked = image_prompts(points, point_labels=labels, boxes=boxes, mask_input=mask)
    return asked.in_model(FRAME, mask_side=SIDE)


def tokens(found: Prompts) -> list[list[int]]:
    """The labels that take part, filler left out."""
    return [[label for label in row if label != -2] for row in found.point_labels.tolist()]


def test_points_without_a_box_get_one_padding_token() -> None:
    found = prompts([[10, 20], [99, 49]], labels=[1, 0])
    assert tokens(found) == [[1, 0, -1]]
    np.testing.assert_allclose(found.point_coords[0], [[6.4, 12.8], [63.36, 31.36], [0, 0]], 1e-6)
    assert found.has_mask_input.tolist() == [0]
    assert found.mask_input.shape == (1, 1, SIDE, SIDE)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"points": [[1, 1]]}, [1, -1]),  # foreground unless labels say something else
        ({"boxes": [0, 0, 100, 50]}, [2, 3]),  # a box needs no padding token
        ({"points": [[1, 1]], "labels": [0], "boxes": [0, 0, 9, 9]}, [0, 2, 3]),
        ({"points": [[1, 1], [0, 0], [9, 9]], "labels": [1, 2, 3]}, [1, 2, 3]),
        ({"mask": np.zeros((SIDE, SIDE))}, []),
    ],
)
def test_the_tokens_of_a_prompt(asked: dict[str, Any], expected: list[int]) -> None:
    found = prompts(**asked)
    assert tokens(found) == [expected]
    assert found.has_mask_input.tolist() == [int("mask" in asked)]


def test_slots_without_a_point_take_no_part() -> None:
    points = [[[1, 1], [2, 2]], [[3, 3], [-500, 7]]]
    found = prompts(points, labels=[[1, 1], [0, -1]])
    assert tokens(found) == [[1, 1, -1], [0, -1]]
    assert np.abs(found.point_coords).max() < 64


def test_many_points_are_decoded_in_smaller_batches() -> None:
    """The memory of attention grows with their square."""
    for points, at_once in ((1, 64), (9, 64), (99, 10), (400, 2), (1000, 1)):
        found = prompts(np.ones((70, points, 2)))
        sizes = [len(batch["point_labels"]) for batch in found.batches(64)]
        assert sum(sizes) == 70
        assert max(sizes) == at_once


def test_what_of_a_box_is_outside_is_cut_off() -> None:
    found = prompts(boxes=[[-0.4, -3, 100.4, 50.4], [40, 20, 1e6, 30]])
    whole = prompts(boxes=[[0, 0, 100, 50], [40, 20, 100, 30]])
    np.testing.assert_array_equal(found.point_coords, whole.point_coords)


def test_text_prompts_even_out_with_filler() -> None:
    one, three = np.ones((1, 2), np.float32), np.ones((3, 2), np.float32)
    masks = np.zeros((2, SIDE, SIDE), np.float32)
    found = text_prompts([one, three], corners=None, mask_input=masks)
    assert tokens(found) == [[1, -1], [1, 1, 1, -1]]
    assert found.has_mask_input.tolist() == [1, 1]
    assert found.point_labels.dtype == np.int32
    corners = np.array([[[1, 2], [3, 4]], [[5, 6], [7, 8]]], np.float32)
    boxed = text_prompts([one, three], corners=corners, mask_input=masks)
    assert tokens(boxed) == [[1, 2, 3], [1, 1, 1, 2, 3]]
    np.testing.assert_array_equal(boxed.point_coords[:, -2:], corners)


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ({}, "nothing"),
        ({"labels": [1]}, "point_labels"),
        ({"points": []}, "points have shape"),
        ({"points": [1, 2]}, "[2]"),
        ({"points": [[1, 2, 3]]}, "[1, 3]"),
        ({"points": [[1, 2], [3]]}, "points"),
        ({"points": [["a", "b"]]}, "numbers"),
        ({"points": [[1, np.nan]]}, "NaN"),
        ({"points": [[-0.5, 20]]}, "100 x 50"),
        ({"points": [[1, 1]] * 1001}, "1001"),
        ({"points": [[1, 1]], "labels": [7]}, "label 7"),
        ({"points": [[1, 1]], "labels": [-2]}, "label -2"),
        ({"points": [[1, 1]], "labels": [1, 0]}, "[2]"),
        ({"points": [[1, 1]], "labels": [[1], [1, 0]]}, "point_labels"),
        ({"points": [[1, 1]], "labels": [0.5]}, "integers"),
        ({"points": [[1, 1]], "labels": [2**70]}, "integers"),
        ({"points": [[1, 1]], "labels": [-1]}, "no point"),
        ({"points": [[1, 1]], "labels": [2]}, "one of each"),
        ({"points": [[9, 9], [1, 1]], "labels": [2, 3]}, "left of"),
        ({"points": [[1, 1], [9, 9]], "labels": [2, 3], "boxes": [0, 0, 9, 9]}, "not both"),
        ({"boxes": [9, 9, 1, 1]}, "reversed"),
        ({"boxes": [[0, 0, 1, 1], [0.1, 0.1, 0.5, 0.5]]}, "[0.1, 0.1, 0.5, 0.5]"),
        ({"points": [[9, 9], [1, 0.25]], "labels": [-1, 1]}, "(1, 0.25) lies within one pixel"),
        ({"points": [[[9, 9], [0.5, 0.5]], [[0, 0], [0.25, 1]]]}, "(0.25, 1)"),
        ({"boxes": [1, 1, 1, 9]}, "empty"),
        ({"boxes": [101, 0, 120, 9]}, "[101, 0, 120, 9]"),
        ({"boxes": [[0, 0, 9, 9], [0, -9, 9, 0]]}, "[0, -9, 9, 0]"),
        ({"boxes": [0, 0, np.inf, 9]}, "infinity"),
        ({"boxes": [0, 0, 9]}, "boxes have shape"),
        ({"points": [[1, 1]], "boxes": [[0, 0, 9, 9]] * 2}, "numbers of prompts"),
        ({"mask": np.zeros((8, 8))}, "16 x 16"),
        ({"mask": np.zeros((2, 3, SIDE, SIDE))}, "mask_input"),
        ({"mask": np.full((SIDE, SIDE), np.nan)}, "NaN"),
    ],
)
def test_what_cannot_be_is_refused(given: dict[str, Any], word: str) -> None:
    refused(lambda: prompts(**given), PromptError, word)


@pytest.mark.parametrize("points", [[[0, 0]], [[1, 1], [0, 1]], [[0.5, 0.5], [9, 9]], [[1.5, 0]]])
def test_points_in_the_corner_of_an_image_are_no_shares(points: list[list[float]]) -> None:
    assert len(prompts(points=points)) == 1
