from __future__ import annotations

import pytest
import torch

from training.tasks.cells import cell_names, possible_places, promised_absences


@pytest.fixture
def batch() -> dict[str, torch.Tensor]:
    """One picture of 2 x 2 cells, the last of padding, and four names.

    Name 2 has a mask over the first cell and a bit of the second, name 0 a box around the second
    and third, name 3 is a label of the whole picture, name 1 is absent by the set's promise. Of
    name 2 all is labelled. A nameless mask covers the third cell.
    """
    return {
        "token_mask": torch.tensor([[[1.0, 1.0], [1.0, 0.0]]]),
        "names": torch.tensor([[2, 0, -1]]),
        "coverage": torch.tensor(
            [[[[1.0, 0.4], [0.0, 0.0]], [[0.0, 1.0], [0.7, 0.0]], [[0.0, 0.0], [0.0, 0.0]]]]
        ),
        "masked": torch.tensor([[True, False, False]]),
        "exhaustive": torch.tensor([[True, False, False]]),
        "unnamed": torch.tensor([[[0.0, 0.0], [0.9, 0.0]]]),
        "present": torch.tensor([[True, False, True, True]]),
        "absent": torch.tensor([[False, True, False, False]]),
    }


def test_a_cell_has_the_name_of_the_mask_that_covers_half_of_it(
    batch: dict[str, torch.Tensor],
) -> None:
    assert cell_names(batch).tolist() == [[2, -1, -1, -1]]


def test_a_thing_without_a_mask_is_in_its_box_or_anywhere(batch: dict[str, torch.Tensor]) -> None:
    found = possible_places(batch)[0].int().tolist()
    assert found == [[0, 0, 0, 1], [1, 0, 0, 1], [1, 0, 0, 1], [0, 0, 0, 0]]


def test_only_what_is_promised_is_absent(batch: dict[str, torch.Tensor]) -> None:
    """Name 2 is absent where its masks are not at all; not in the nameless cell or the padding."""
    found = promised_absences(batch)[0].int().tolist()
    assert found == [[0, 1, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    batch["coverage"][0, 0, 0, 1] = 0.0
    assert promised_absences(batch)[0, 1].int().tolist() == [0, 1, 1, 0]
