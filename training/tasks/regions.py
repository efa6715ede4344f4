"""Cells of a scene that show the same as a crop of it: geometry of boxes, masks and patches.

A cell is a patch of the CLIP head's grid, side x side of them in a scene; cells are float, 0 or 1.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def cells_inside(boxes: Tensor, *, size_px: int, side: int) -> Tensor:
    """Returns the cells whose middle a box XYXY [R,4] touches: float [R,side*side].

    The cell that holds the box's own centre always counts.

    Args:
        boxes: in pixels of the scene.
        size_px: S, the scene's side.
        side: cells in a row.
    """
    low, high = boxes[:, :2] * side / size_px, boxes[:, 2:] * side / size_px
    centre = ((low + high) / 2).clamp(max=side - 1e-3)
    cell = torch.arange(side, device=boxes.device).view(1, -1, 1)
    hit = (cell + 0.5 >= low.unsqueeze(1)) & (cell + 0.5 <= high.unsqueeze(1))
    hit |= cell == centre.unsqueeze(1).floor()
    x, y = hit.float().unbind(-1)
    return (y[:, :, None] * x[:, None, :]).flatten(1)


def filled_cells(logits: Tensor, *, side: int) -> Tensor:
    """Returns the cells that masks [K,h,w] fill by half or more: float [K,side*side]."""
    covered = F.adaptive_avg_pool2d((logits > 0).float().unsqueeze(1), side)
    return (covered.flatten(1) >= 0.5).float()


def shown_cells(inside: Tensor, objects: Tensor) -> Tensor:
    """Returns the cells inside each region that show the same as its crop.

    A scene's first regions are around what its prompts ask for: the cells that the object fills.
    The others are anywhere: all their cells, if none of those objects is in them, and else nothing.

    Args:
        inside: cells of each region, float [B,R,n]; R is at least P.
        objects: cells of what each of P prompts asks for, float [B,P,n].

    Returns:
        float [B*R,n].
    """
    prompts = objects.shape[1]
    anywhere = inside[:, prompts:]
    free = ~(anywhere * objects.amax(dim=1, keepdim=True)).any(dim=2, keepdim=True)
    return torch.cat([inside[:, :prompts] * objects, anywhere * free], dim=1).flatten(0, 1)
