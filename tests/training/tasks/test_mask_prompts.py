from __future__ import annotations

import pytest
import torch

from training.tasks.mask_prompts import correct

RIGHT, MISSES, SPILLS, FULL = range(4)


@pytest.fixture
def prompts() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Masks of 2 x 3 cells: one is right, one misses cell (2, 1), one spills into (0, 1)."""
    target = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]).repeat(4, 1, 1)
    logits = torch.where(target > 0.5, 20.0, -20.0)
    target[MISSES, 1, 2] = 1.0
    logits[[SPILLS, FULL], 1, 0] = 3.0
    coords = torch.arange(4 * 3 * 2).view(4, 3, 2).float()
    labels = torch.tensor([[1, -1, -2]]).repeat(4, 1)
    labels[FULL] = torch.tensor([1, 2, 3])
    return coords, labels, logits, target


def test_a_point_is_drawn_where_the_mask_is_wrong(prompts: tuple[torch.Tensor, ...]) -> None:
    coords, labels, logits, target = prompts
    found, kinds, mask = correct(coords, labels, logits, target)
    assert kinds.tolist() == [[1, -1, -2], [1, -1, 1], [1, -1, 0], [1, 2, 3]]
    assert found[MISSES, 2].tolist() == [2 * 4 + 1.5, 1 * 4 + 1.5]
    assert found[SPILLS, 2].tolist() == [1.5, 5.5]
    untouched = torch.ones(4, 3, dtype=torch.bool)
    untouched[[MISSES, SPILLS], 2] = False
    assert torch.equal(found[untouched], coords[untouched])
    assert torch.equal(mask, logits.clamp(-10, 10).unsqueeze(1))


def test_what_was_given_stays(prompts: tuple[torch.Tensor, ...]) -> None:
    before = [each.clone() for each in prompts]
    correct(*prompts)
    assert all(torch.equal(a, b) for a, b in zip(before, prompts, strict=True))


def test_errors_are_drawn_evenly() -> None:
    target = torch.zeros(4000, 1, 4)
    target[:, 0, 3] = 1.0
    logits = torch.tensor([[[-1.0, 1.0, -1.0, -1.0]]]).expand(4000, 1, 4)
    torch.manual_seed(0)
    _, labels, _ = correct(torch.zeros(4000, 1, 2), torch.full((4000, 1), -2), logits, target)
    assert labels.float().mean().item() == pytest.approx(0.5, abs=0.04)
