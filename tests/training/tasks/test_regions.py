from __future__ import annotations

import torch

from training.tasks.regions import cells_inside, filled_cells, shown_cells


def testcells_inside_a_box() -> None:
    def cells(*box: float) -> set[tuple[int, int]]:
        inside = cells_inside(torch.tensor([box]), size_px=64, side=4)
        return {(int(i) % 4, int(i) // 4) for i in inside[0].nonzero().flatten()}

    assert cells(16, 0, 48, 16) == {(1, 0), (2, 0)}
    assert cells(0, 0, 64, 64) == {(x, y) for x in range(4) for y in range(4)}
    assert cells(1, 33, 3, 34) == {(0, 2)}, "a small box has the cell that holds its centre"
    assert cells(9, 0, 40, 16) == {(1, 0), (2, 0)}, "a cell is touched by its middle"
    assert cells(64, 64, 64, 64) == {(3, 3)}


def test_a_mask_fills_the_cells_that_it_covers_by_half() -> None:
    masks = -torch.ones(2, 16, 16)
    masks[0, 4:8, 8:12] = 1
    masks[0, 8:10, 0:4] = 1  # half of a cell
    masks[1, 0:2, 0:3] = 1  # less than half of one
    cells = filled_cells(masks, side=4)
    assert cells[0].nonzero().flatten().tolist() == [6, 8]
    assert not cells[1].any()


def test_background_is_a_region_without_a_prompted_object() -> None:
    """One prompt an image, then two regions anywhere: the object fills cells 5 and 6."""
    objects = torch.zeros(2, 1, 16)
    objects[:, :, [5, 6]] = 1
    inside = torch.zeros(2, 3, 16)
    for row, cells in enumerate([[5, 9], [0, 1], [1, 5], [6], [15], [2, 3]]):
        inside.view(6, 16)[row, cells] = 1
    shown = shown_cells(inside, objects)
    expected = [[5], [0, 1], [], [6], [15], [2, 3]]
    assert [row.nonzero().flatten().tolist() for row in shown] == expected
