"""Boxes of things, read in numpy as the training reads them in torch."""

from __future__ import annotations

import numpy as np
import torch

from samclip_sdk.image.frame import Frame
from samclip_sdk.image.proposals import read_proposals
from samclip_sdk.modeling.proposal_head import boxes_of
from training.tasks.proposals import best_boxes

FRAME = Frame.fit(300, 400, resolution=256)  # 192 of its 256 rows show the image


def test_they_are_those_of_training() -> None:
    values = np.random.default_rng(0).normal(size=(1, 30, 16, 16)).astype(np.float32)
    found = read_proposals(values, frame=FRAME, maximum=20, same_iou=0.7)
    boxes, scores = boxes_of(torch.from_numpy(values[:, :, :12]))
    in_image = FRAME.to_image(boxes.numpy().reshape(-1, 2, 2)).clip(0, (400, 300)).reshape(-1, 4)
    wanted, best = best_boxes(torch.from_numpy(in_image).float(), scores.flatten(), maximum=20)
    np.testing.assert_allclose(found.boxes, wanted, atol=1e-2)
    np.testing.assert_allclose(found.scores, best, atol=1e-5)


def test_nothing_is_proposed_in_the_padding() -> None:
    values = np.full((1, 30, 16, 16), -3, dtype=np.float32)
    values[0, :4, 13] = 5  # objectness of small places below the image
    found = read_proposals(values, frame=FRAME, maximum=10, same_iou=0.7)
    assert (found.scores < 0.1).all()


def test_a_rectangle_answers_as_its_square() -> None:
    values = np.random.default_rng(1).normal(size=(1, 30, 16, 16)).astype(np.float32)
    whole = read_proposals(values, frame=FRAME, maximum=10, same_iou=0.7)
    part = read_proposals(values[:, :, :12], frame=FRAME, maximum=10, same_iou=0.7)
    np.testing.assert_array_equal(whole.boxes, part.boxes)


def test_a_box_of_less_than_a_pixel_goes() -> None:
    values = np.full((1, 30, 16, 16), -20, np.float32)
    assert len(read_proposals(values, frame=FRAME, maximum=10, same_iou=0.7).boxes) == 0
