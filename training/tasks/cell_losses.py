"""Losses between cells or images and names, as pure modules that know no model.

`kin` bool [N,N] says which names are of one thing, such as "pug" and "dog": they never compete.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_PRESENCE_SCALE, _PRESENCE_BIAS = 20.0, -8.0
_HARDEST = 4  # absent names of a cell that count
_ALARMS = 8  # cells of an image that look most like an absent name


class NamedCells(nn.Module):
    """A cross-entropy over names, of cells that have one; a rare name's cells weigh more."""

    def forward(self, logits: Tensor, targets: Tensor, kin: Tensor) -> Tensor:
        """Maps logits [n,N] of cells and their names [n] to a scalar."""
        if not len(targets):
            return logits.sum() * 0
        rivals = ~kin[targets]
        rivals.scatter_(1, targets.unsqueeze(1), value=True)
        entropy = F.cross_entropy(
            logits.masked_fill(~rivals, -torch.inf), targets, reduction="none"
        )
        weights = torch.bincount(targets, minlength=len(kin))[targets].float().rsqrt()
        return (entropy * weights).sum() / weights.sum()


class NamedImages(nn.Module):
    """A cross-entropy over names of a whole image, of which any that it shows is right."""

    def forward(self, logits: Tensor, present: Tensor, kin: Tensor) -> Tensor:
        """Maps logits [B,N] and the first V of N names that are there, bool [B,V], to a scalar."""
        labelled = present.any(dim=1)
        if not labelled.any():
            return logits.sum() * 0
        logits, present = logits[labelled], present[labelled]
        rivals = present.float() @ kin[: present.shape[1]].float() == 0
        right = logits[:, : present.shape[1]].masked_fill(~present, -torch.inf).logsumexp(dim=1)
        wrong = logits.masked_fill(~rivals, -torch.inf).logsumexp(dim=1)
        return F.softplus(wrong - right).mean()


class PresentNames(nn.Module):
    """A logistic regression of "this cell shows the name" on their cosine, and of its own scale.

    Of the names that a cell does not show, those count that it looks most like.
    """

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(_PRESENCE_SCALE).log())
        self.bias = nn.Parameter(torch.tensor(_PRESENCE_BIAS))

    def start(self, *, scale: float, bias: float) -> None:
        """Begins with the logits scale * (cosine - bias)."""
        self.scale.data.fill_(math.log(scale))
        self.bias.data.fill_(-scale * bias)

    def forward(self, cosines: Tensor, targets: Tensor, absent: Tensor) -> Tensor:
        """Maps cosines [n,V], names of cells [n], -1 for none, and bool [n,V] to a scalar."""
        logits = self.logits(cosines)
        named = targets >= 0
        loss = logits.sum() * 0
        if named.any():
            own = logits[named].gather(1, targets[named].unsqueeze(1))
            loss = loss + F.softplus(-own).mean()
        judged = absent.any(dim=1)
        if judged.any():
            wrong = F.softplus(logits[judged].masked_fill(~absent[judged], -torch.inf))
            hardest = wrong.topk(min(_HARDEST, wrong.shape[1]), dim=1).values
            loss = loss + hardest.mean()
        return loss

    def logits(self, cosines: Tensor) -> Tensor:
        """Returns the logits of cosines."""
        return self.scale.exp() * cosines + self.bias


class FalseAlarms(nn.Module):
    """A logistic regression on the cells of an image that look most like a name it does not show.

    The best cell decides whether a name is found: one false cell in a thousand is a false alarm.
    """

    def forward(self, logits: Tensor, cells: Tensor, absent: Tensor) -> Tensor:
        """Maps logits [B,n,V], the cells that are judged [B,n] and bool [B,V] to a scalar."""
        judged = logits.masked_fill(~cells.unsqueeze(2), -torch.inf)
        worst = judged.topk(min(_ALARMS, judged.shape[1]), dim=1).values
        wrong = F.softplus(worst).mean(dim=1)
        return wrong[absent].sum() / absent.sum().clamp(min=1)
