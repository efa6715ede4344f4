from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from training.tasks.losses import (
    CosineDistillation,
    FocalDice,
    MaskDistillation,
    MultimaskLoss,
    mask_iou,
    uncertain_points,
)

LN2 = math.log(2)


def pixel(value: float) -> Tensor:
    """A mask of one pixel, [1,1]."""
    return torch.full((1, 1), value)


def test_cosine_is_averaged_over_the_batch_and_blind_to_length() -> None:
    student = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    teacher = torch.tensor([[0.0, 2.0], [3.0, 0.0], [-0.5, 0.0]])
    assert CosineDistillation()(student, teacher).item() == pytest.approx((1 + 0 + 2) / 3)


@pytest.mark.parametrize(
    ("target", "focal", "dice"),
    [
        (1.0, 0.25 * 0.5**2 * LN2, 1 - (2 * 0.5 + 1) / (0.25 + 1 + 1)),
        (0.0, 0.75 * 0.5**2 * LN2, 1 - (0 + 1) / (0.25 + 0 + 1)),
        (0.5, 0.0, 0.0),
        (0.25, 0.625 * 0.25**2 * LN2, 1 - (2 * 0.125 + 1) / (0.25 + 0.0625 + 1)),
    ],
)
def test_focal_and_dice_at_even_odds(target: float, focal: float, dice: float) -> None:
    loss = FocalDice()(pixel(0.0), pixel(target)).item()
    assert loss == pytest.approx(20 * focal + dice, rel=1e-6)


def test_a_student_that_is_its_teacher_is_at_the_minimum() -> None:
    """Dice without squares pulled such a student to steeper edges and larger masks."""
    generator = torch.Generator().manual_seed(0)
    teacher = 3 * torch.randn(2, 4, 8, 8, generator=generator)
    student = teacher.clone().requires_grad_()
    loss = FocalDice()(student, teacher.sigmoid()).sum()
    assert loss.item() == pytest.approx(0, abs=1e-5)
    loss.backward()
    assert student.grad is not None
    assert student.grad.abs().max() < 1e-6
    for change in (0.9, 1.1):
        assert FocalDice()(change * teacher, teacher.sigmoid()).min() > 1e-4


def test_uncertain_points_lie_near_the_edges() -> None:
    """A disc whose logits fall by one a pixel: at random one pixel in eight is within two."""
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    logits = (16 - ((y - 32) ** 2 + (x - 32) ** 2).sqrt()).expand(2, 4, 64, 64)
    torch.manual_seed(0)
    indices = uncertain_points(logits, count=400)
    assert indices.shape == (2, 4, 400)
    near = (logits.flatten(2).gather(2, indices).abs() < 2).float().mean().item()
    assert 0.25 < near < 0.8
    assert uncertain_points(logits[..., :8, :8], count=100).shape[-1] == 64, (
        "no more than there are"
    )


def test_a_loss_of_points_is_that_of_all_where_these_are_few() -> None:
    generator = torch.Generator().manual_seed(0)
    logits, iou = torch.randn(2, 4, 8, 8, generator=generator), torch.full((2, 4), 0.5)
    target = (torch.rand(2, 8, 8, generator=generator) > 0.5).float()
    every = MultimaskLoss()(logits, iou, target)
    torch.testing.assert_close(MultimaskLoss(points=64)(logits, iou, target), every)


def test_a_mask_is_scored_apart_from_its_neighbours() -> None:
    logits, target = torch.randn(4, 8, 8), torch.rand(4, 8, 8)
    together = FocalDice()(logits, target)
    assert together.shape == (4,)
    torch.testing.assert_close(together[2], FocalDice()(logits[2], target[2]))


def test_only_the_best_of_three_masks_is_trained() -> None:
    logits = torch.tensor([0.0, 9.0, -9.0, 2.0]).view(1, 4, 1, 1).requires_grad_()
    iou = torch.tensor([[0.5, 1.0, 0.0, 0.5]])
    loss = MultimaskLoss()(logits, iou, torch.ones(1, 1, 1))
    # Measured IoUs are 0, 1, 0 and 1: a logit of 0 is not in the mask.
    expected = FocalDice()(pixel(0.0), pixel(1.0)) + FocalDice()(pixel(9.0), pixel(1.0))
    assert loss.item() == pytest.approx(expected.item() + (0.25 + 0.25) / 4, rel=1e-6)
    loss.backward()
    assert logits.grad is not None
    assert (logits.grad.flatten() != 0).tolist() == [True, True, False, False]


def test_distillation_compares_all_masks_and_their_ious() -> None:
    generator = torch.Generator().manual_seed(0)
    student, teacher = (torch.randn(2, 4, 8, 8, generator=generator) for _ in range(2))
    iou, teacher_iou = torch.full((2, 4), 0.75), torch.full((2, 4), 0.25)
    loss = MaskDistillation()(student, iou, teacher, teacher_iou)
    masks = FocalDice()(student, teacher.sigmoid())
    assert loss.item() == pytest.approx(masks.mean().item() + 0.5**2, rel=1e-6)


def test_iou_of_masks() -> None:
    logits = torch.tensor([[[1.0, 1.0], [-1.0, 0.0]], [[-1.0, -1.0], [-1.0, -1.0]]])
    target = torch.tensor([[[1.0, 0.5], [0.7, 0.0]], [[0.0, 0.0], [0.0, 0.0]]])
    # Predicted: the upper two. True: above 0.5, the left two. One of three in common.
    assert mask_iou(logits.requires_grad_(), target).tolist() == pytest.approx([1 / 3, 0.0])
    assert not mask_iou(logits, target).requires_grad
