from __future__ import annotations

import math

import pytest
import torch

from training.tasks.cell_losses import (
    FalseAlarms,
    NamedCells,
    NamedImages,
    PresentNames,
)

LN2 = math.log(2)
STRANGERS = torch.eye(4, dtype=torch.bool)


def related(*pairs: tuple[int, int]) -> torch.Tensor:
    kin = STRANGERS.clone()
    for one, other in pairs:
        kin[one, other] = kin[other, one] = True
    return kin


def test_named_cells_are_weighed_by_how_rare_a_name_is() -> None:
    """Name 0 has four cells that are as near to one other name, name 1 has one that is right."""
    logits = torch.full((5, 4), -50.0)
    logits[:4, :2] = 1.0
    logits[4, 1] = 50.0
    targets = torch.tensor([0, 0, 0, 0, 1])
    # Weights: 4^-0.5 in each of four cells, 1 in the other.
    assert NamedCells()(logits, targets, STRANGERS).item() == pytest.approx(4 * 0.5 * LN2 / (2 + 1))


def test_kin_do_not_compete() -> None:
    logits = torch.tensor([[0.0, 5.0, 0.0, -50.0]])
    targets = torch.tensor([0])
    assert NamedCells()(logits, targets, related((0, 1))).item() == pytest.approx(LN2)
    present = torch.tensor([[True, False]])
    assert NamedImages()(logits, present, related((0, 1))).item() == pytest.approx(LN2)
    assert NamedImages()(logits, present, STRANGERS).item() > 4


def test_any_name_of_an_image_is_right() -> None:
    """Two of four names are there; an image without a name teaches nothing."""
    logits = torch.tensor([[3.0, -9.0, 3.0, -50.0], [0.0, 0.0, 9.0, 9.0]])
    present = torch.tensor([[True, True, False], [False, False, False]])
    loss = NamedImages()(logits, present, STRANGERS)
    assert loss.item() == pytest.approx(LN2, rel=1e-3)


def test_without_a_name_nothing_is_learned() -> None:
    logits = torch.randn(0, 4, requires_grad=True)
    assert NamedCells()(logits, torch.zeros(0, dtype=torch.int64), STRANGERS).item() == 0
    nameless = torch.zeros(2, 3, dtype=torch.bool)
    assert NamedImages()(torch.randn(2, 4), nameless, STRANGERS).item() == 0


def test_of_absent_names_the_likeliest_count() -> None:
    presence = PresentNames()
    with torch.no_grad():
        presence.scale.fill_(0)
        presence.bias.fill_(0)
    cosines = torch.zeros(2, 6)
    cosines[1, :5] = torch.tensor([50.0, 40.0, 30.0, 20.0, 10.0])
    absent = torch.ones(2, 6, dtype=torch.bool)
    absent[1, 0] = False
    targets = torch.tensor([-1, 0])
    # The first cell is as likely to show any; the second shows its own for certain, and four more.
    expected = (LN2 + (40 + 30 + 20 + 10) / 4) / 2
    assert presence(cosines, targets, absent).item() == pytest.approx(expected, rel=1e-3)
    nothing = torch.zeros_like(absent)
    assert presence(cosines[1:], targets[1:], nothing[1:]).item() == pytest.approx(0, abs=1e-6)


def test_one_false_cell_of_many_is_a_false_alarm() -> None:
    alarms, absent = FalseAlarms(), torch.tensor([[True], [False]])
    cells = torch.ones(2, 1000, dtype=torch.bool)
    quiet = torch.full((2, 1000, 1), -9.0)
    loud, elsewhere = quiet.clone(), quiet.clone()
    loud[0, 500], elsewhere[1, 500] = 9.0, 9.0
    assert alarms(quiet, cells, absent) < 0.001
    assert alarms(elsewhere, cells, absent) < 0.001  # there, the name is present
    assert alarms(loud, cells, absent) > 1
    cells[0, 500] = False
    assert alarms(loud, cells, absent) < 0.001
    assert alarms(loud, cells, torch.zeros_like(absent)) == 0
