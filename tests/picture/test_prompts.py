from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from samclip_sdk.errors import PromptError
from samclip_sdk.picture.frame import Frame
from samclip_sdk.picture.image_prompts import image_prompts
from samclip_sdk.picture.model_prompts import Prompts, text_prompts

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


def test_a_box_gets_none() -> None:
    found = prompts(boxes=[0, 0, 100, 50])
    assert tokens(found) == [[2, 3]]
    np.testing.assert_allclose(found.point_coords[0], [[0, 0], [64, 32]])


def test_points_with_a_box_get_none() -> None:
    assert tokens(prompts([[1, 1]], labels=[0], boxes=[0, 0, 9, 9])) == [[0, 2, 3]]


def test_corners_given_as_labels_are_a_box() -> None:
    assert tokens(prompts([[1, 1], [0, 0], [9, 9]], labels=[1, 2, 3])) == [[1, 2, 3]]


def test_a_mask_alone_has_no_token() -> None:
    found = prompts(mask=np.zeros((SIDE, SIDE)))
    assert tokens(found) == [[]]
    assert found.has_mask_input.tolist() == [1]


def test_slots_without_a_point_take_no_part() -> None:
    points = [[[1, 1], [2, 2]], [[3, 3], [-500, 7]]]
    found = prompts(points, labels=[[1, 1], [0, -1]])
    assert tokens(found) == [[1, 1, -1], [0, -1]]
    assert np.abs(found.point_coords).max() < 64


def test_labels_are_foreground_unless_given() -> None:
    assert tokens(prompts([[1, 1]])) == [[1, -1]]


def test_many_boxes_take_no_memory_for_masks() -> None:
    found = prompts(boxes=np.tile([0, 0, 9, 9], (1000, 1)))
    assert found.mask_input.strides[0] == 0
    sizes = [len(batch["point_labels"]) for batch in found.batches(64)]
    assert sum(sizes) == 1000
    assert max(sizes) == 64


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
    ("given", "message"),
    [
        ({}, "nothing to segment"),
        ({"labels": [1]}, "point_labels come without points"),
        ({"points": []}, "points have shape"),
        ({"points": [1, 2]}, "points have shape"),
        ({"points": [[1, 2, 3]]}, "points have shape"),
        ({"points": [[1, 2], [3]]}, "not one array of numbers"),
        ({"points": [["a", "b"]]}, "must be numbers"),
        ({"points": [[1, np.nan]]}, "NaN"),
        ({"points": [[100, 20]]}, r"point \(100, 20\) is outside the image of 100 x 50"),
        ({"points": [[-0.5, 20]]}, "outside"),
        ({"points": [[1, 1]] * 1001}, "a prompt has 1001 points; 1000 are the most: give fewer"),
        ({"points": [[1, 1]], "labels": [7]}, "point label 7 means nothing"),
        ({"points": [[1, 1]], "labels": [-2]}, "point label -2 means nothing"),
        ({"points": [[1, 1]], "labels": [1, 0]}, r"point_labels have shape \[2\].*must be \[1\]"),
        ({"points": [[1, 1]], "labels": [[1], [1, 0]]}, "point_labels are not one array"),
        ({"points": [[1, 1]], "labels": [0.5]}, "must be integers"),
        ({"points": [[1, 1]], "labels": [2**70]}, "must be integers"),
        ({"points": [[1, 1]], "labels": [-1]}, "has no point"),
        ({"points": [[1, 1]], "labels": [2]}, "one of each"),
        ({"points": [[9, 9], [1, 1]], "labels": [2, 3]}, "left of and above"),
        ({"points": [[1, 1], [9, 9]], "labels": [2, 3], "boxes": [0, 0, 9, 9]}, "not both"),
        ({"boxes": [9, 9, 1, 1]}, "reversed"),
        ({"boxes": [1, 1, 1, 9]}, "empty or reversed"),
        ({"boxes": [101, 0, 120, 9]}, r"box \[101, 0, 120, 9\] is outside the image of 100 x 50"),
        ({"boxes": [[0, 0, 9, 9], [0, -9, 9, 0]]}, r"box \[0, -9, 9, 0\] is outside"),
        ({"boxes": [0, 0, np.inf, 9]}, "infinity"),
        ({"boxes": [0, 0, 9]}, "boxes have shape"),
        ({"points": [[1, 1]], "boxes": [[0, 0, 9, 9]] * 2}, "numbers of prompts differ"),
        (
            {"mask": np.zeros((8, 8))},
            "mask_input has 8 x 8 values a mask; this model takes 16 x 16",
        ),
        ({"mask": np.zeros((2, 3, SIDE, SIDE))}, "mask_input has shape"),
        ({"mask": np.full((SIDE, SIDE), np.nan)}, "NaN"),
    ],
)
def test_what_cannot_be_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(PromptError, match=message):
        prompts(**given)
