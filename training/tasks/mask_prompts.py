"""Masks that training prompts with: coarse ones, and the answer so far, with a point beside it."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

_CELL_PX = 4  # of a low-resolution mask
_FILLER = -2
_LIMIT = 10.0  # of the logits of a mask prompt, as the SDK bounds them


def coarse_mask_prompt(logits: Tensor) -> Tensor:
    """Degrades mask logits [K,4g,4g] to what a CLIP score map is as a mask prompt, [K,1,4g,4g].

    A cell's score is a (c - b) for its mean coverage c, blurred, noisy, with random a and b,
    clipped to +-10 and upsampled: the text-to-mask refinement feeds such maps (paper section 4.4).
    """
    cells = F.avg_pool2d(logits.float().sigmoid().unsqueeze(1), 4)
    prompts = len(cells)
    blurred = F.avg_pool2d(cells, 3, stride=1, padding=1, count_include_pad=False)
    blend, slope, middle = torch.rand(3, prompts, 1, 1, 1, device=logits.device)
    coverage = blend * blurred + (1 - blend) * cells + 0.15 * torch.randn_like(cells)
    score = ((5 + 25 * slope) * (coverage - (0.25 + 0.4 * middle))).clamp(-10, 10)
    return F.interpolate(score, scale_factor=4, mode="bilinear")


def correct(
    coords: Tensor, labels: Tensor, logits: Tensor, target: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Draws one more point for each prompt, from where its mask is wrong, evenly.

    It takes the place of the first filler, with the label 1 where the mask misses the object and 0
    where it spills. A prompt whose mask is right, or that has no filler left, stays as it is.

    Args:
        coords: float [K,P,2], pixels of the model's input.
        labels: int [K,P].
        logits: [K,h,w] of the masks so far.
        target: true masks in 0..1, [K,h,w].

    Returns:
        The new coords and labels, and the mask prompt [K,1,h,w], the bounded logits.
    """
    wrong = ((logits > 0) != (target > 0.5)).flatten(1)
    free = labels == _FILLER
    rows = (wrong.any(dim=1) & free.any(dim=1)).nonzero().flatten()
    coords, labels = coords.clone(), labels.clone()
    if len(rows):
        cell = torch.multinomial(wrong[rows].float(), 1).flatten()
        y, x = cell // logits.shape[-1], cell % logits.shape[-1]
        slot = free[rows].float().argmax(dim=1)
        middle = (_CELL_PX - 1) / 2
        coords[rows, slot] = _CELL_PX * torch.stack([x, y], dim=1).to(coords.dtype) + middle
        missed = target[rows].flatten(1).gather(1, cell[:, None]).flatten() > 0.5
        labels[rows, slot] = missed.to(labels.dtype)
    return coords, labels, logits.clamp(-_LIMIT, _LIMIT).unsqueeze(1)
