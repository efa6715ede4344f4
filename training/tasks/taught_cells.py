"""Which cells learn names: those that masks cover, and where a name without a mask may be."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

LOGIT_SCALE = 20.0  # of cosines among names
_COVERED = 0.5  # share of a cell from which a mask's name is the cell's
_CELLS = 160  # of an image that are taught, those of each name as many
_SOMEWHERE = 4  # names of an image without a mask that are looked for


def cell_names(batch: dict[str, Tensor]) -> Tensor:
    """The name of each cell, whose masks cover most of it and half at least: int64 [B,n], or -1."""
    coverage = (batch["coverage"] * batch["masked"][:, :, None, None]).flatten(2)
    maximum, index = coverage.max(dim=1)
    return torch.where(maximum >= _COVERED, batch["names"].gather(1, index), -1)


def judged_cells(batch: dict[str, Tensor]) -> Tensor:
    """Returns the cells that learn absent names: bool [B,n]; none under a mask without a name."""
    return (batch["token_mask"].flatten(1) > 0) & (batch["unnamed"].flatten(1) < _COVERED)


def draw_cells(batch: dict[str, Tensor], targets: Tensor) -> tuple[Tensor, Tensor]:
    """Draws up to `_CELLS` cells of each image that teach something, each name as often.

    Returns the image and the cell of each, int64 [m] both.
    """
    promises = batch["absent"].any(dim=1) | batch["exhaustive"].any(dim=1)
    useful = (targets >= 0) | (judged_cells(batch) & promises.unsqueeze(1))
    keys = torch.rand(targets.shape, device=targets.device)
    for row, each in zip(targets, keys, strict=True):
        _, which, counts = row.unique(return_inverse=True, return_counts=True)
        each.pow_(counts[which].sqrt())
    keys = keys.masked_fill(~useful, -1)
    best, cells = keys.topk(min(_CELLS, keys.shape[1]), dim=1)
    image, index = (best >= 0).nonzero(as_tuple=True)
    return image, cells[image, index]


def absent_names(batch: dict[str, Tensor], image: Tensor, cell: Tensor, kin: Tensor) -> Tensor:
    """Returns the names that m cells do not show, by the promise of their set: bool [m,V].

    What an image does not show is in none of its cells, unless it is kin, bool [V,V], of what it
    shows; and of a name that is there, all cells but its own do not show it.
    """
    related = batch["present"].float() @ kin.float() > 0
    absent = (batch["absent"] & ~related)[image]
    outside = (batch["coverage"].flatten(2) == 0) & batch["exhaustive"].unsqueeze(2)
    outside = outside[image, :, cell]
    names = batch["names"][image]
    # Of a cell's own name, no kin is told to be absent there: it may be what is seen.
    own = cell_names(batch)[image, cell]
    absent = torch.cat([absent, absent[:, :1]], dim=1)  # a column for what is no name
    absent = absent.scatter(1, torch.where(names >= 0, names, absent.shape[1] - 1), outside)
    absent = absent[:, :-1] & judged_cells(batch)[image, cell].unsqueeze(1)
    return absent & ~(kin[own.clamp(min=0)] & (own >= 0).unsqueeze(1))


def seen_cells(coarse: Tensor, vectors: Tensor, indices: Tensor) -> Tensor:
    """Returns where the classifier sees names: weights [p,n] of cells, which sum to 1.

    Args:
        coarse: its answers [p,E,g/2,g/2], of any length.
        vectors: of a name each, unit vectors [p,E].
        indices: bool [p,n], where the name may be; all other weights are 0.
    """
    cosines = torch.einsum("pehw,pe->phw", F.normalize(coarse.float(), dim=1), vectors)
    finer = F.interpolate(cosines.unsqueeze(1), scale_factor=2.0, mode="bilinear").flatten(1)
    return (LOGIT_SCALE * finer).masked_fill(~indices, -torch.inf).softmax(dim=1)


def unmasked_names(batch: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Names that images show without a mask, a few of each: where each of them may be.

    In its boxes if there are any, else anywhere in the image.

    Returns:
        The image int64 [p] and the name int64 [p] of each, and the places bool [p,n].
    """
    masked = torch.zeros_like(batch["present"])
    boxed: dict[tuple[int, int], Tensor] = {}
    for row, column in (batch["names"] >= 0).nonzero().tolist():
        known = int(batch["names"][row, column])
        if batch["masked"][row, column]:
            masked[row, known] = True
        else:
            boxed[row, known] = batch["coverage"][row, column].flatten() > 0
    unpadded = batch["token_mask"].flatten(1) > 0
    keys = torch.rand(masked.shape, device=masked.device) * (batch["present"] & ~masked)
    best, name = keys.topk(min(_SOMEWHERE, keys.shape[1]), dim=1)
    image, index = (best > 0).nonzero(as_tuple=True)
    name = name[image, index]
    indices = [
        boxed.get(pair, unpadded[pair[0]])
        for pair in zip(image.tolist(), name.tolist(), strict=True)
    ]
    return image, name, torch.stack([*indices, unpadded[0]])[: len(indices)]
