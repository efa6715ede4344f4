from __future__ import annotations

import math

import pytest
import torch

from training.tasks.name_losses import NamedCells, NamedPictures, PresentNames, SeenSomewhere

NAMES = torch.eye(4)
LN2 = math.log(2)


def test_named_cells_are_weighed_by_how_rare_a_name_is() -> None:
    """Name 0 has four cells that are as near to one other name, name 1 has one that is right."""
    logits = torch.full((1, 6, 4), -50.0)
    logits[0, :4, :2] = 1.0
    logits[0, 4, 1] = 50.0
    targets = torch.tensor([[0, 0, 0, 0, 1, -1]])
    # Weights: 4^-0.5 in each of four cells, 1 in the other.
    assert NamedCells()(logits, targets, NAMES).item() == pytest.approx(4 * 0.5 * LN2 / (2 + 1))


def test_names_that_are_alike_do_not_compete() -> None:
    names = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]])
    logits = torch.tensor([[[0.0, 5.0, 0.0]]])
    assert NamedCells()(logits, torch.tensor([[0]]), names).item() == pytest.approx(LN2)


def test_without_a_named_cell_nothing_is_learned() -> None:
    logits = torch.randn(1, 2, 4, requires_grad=True)
    loss = NamedCells()(logits, torch.full((1, 2), -1), NAMES)
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None
    assert not logits.grad.any()


def test_any_name_of_a_picture_is_right() -> None:
    """Two of three names are there; of the two others, one is like the first."""
    names = torch.tensor([[1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0], [0.8, 0, 0.6]])
    logits = torch.tensor([[1.0, 2.0, 3.0, 9.0], [7.0, 7.0, 7.0, 7.0]])
    present = torch.tensor([[True, True, False], [False, False, False]])
    # e^3 is wrong; the 9 is not, for it is of something like name 0. The second has no name.
    expected = math.log(1 + math.exp(3.0) / (math.exp(1.0) + math.exp(2.0)))
    assert NamedPictures()(logits, present, names).item() == pytest.approx(expected)
    assert NamedPictures()(logits, present & False, names).item() == 0


def test_what_is_seen_somewhere_is_told_from_what_is_not_present() -> None:
    """One picture of two cells: name 0 may be in the second, name 1 is present as well."""
    logits = torch.tensor([[[9.0, 9.0, 0.0], [2.0, 9.0, 0.0]]])
    places = torch.tensor([[[False, False, False], [True, False, False]]])
    present = torch.tensor([[True, True, False]])
    # The mean of e^0 over both cells is 1 for name 2; name 0 has e^2 where it may be.
    expected = math.log(1 + math.exp(0.0 - 2.0))
    assert SeenSomewhere()(logits, places, present).item() == pytest.approx(expected, rel=1e-5)
    assert SeenSomewhere()(logits, places & False, present).item() == 0


def test_presence_is_asked_of_named_cells_and_of_what_is_promised() -> None:
    loss = PresentNames()
    with torch.no_grad():
        loss.scale.copy_(torch.tensor(2.0).log())
        loss.bias.copy_(torch.tensor(-1.0))
    cosines = torch.tensor([[[0.5, 0.9], [0.5, 0.9]]])
    targets = torch.tensor([[0, -1]])
    absent = torch.tensor([[[False, False], [True, False]]])
    # 2 x 0.5 - 1 = 0: a coin's toss, once for the cell that shows it and once for the other.
    assert loss(cosines, targets, absent).item() == pytest.approx(LN2 + 4 * LN2)
    assert loss(cosines, targets - targets - 1, absent & False).item() == 0
