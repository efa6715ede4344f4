"""Losses between cells of pictures and names, as pure modules that know no model."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_ALIKE = 0.6  # cosine from which two names may be of one thing: a dog is no mistake for a beagle
_PRESENCE_SCALE, _PRESENCE_BIAS = 20.0, -8.0
_NEGATIVE_WEIGHT = 4.0  # nearly all that is asked is absent


class NamedCells(nn.Module):
    """A cross-entropy over names, of the cells that have one.

    A name that m cells of the batch have weighs m^-0.5 in each. Names whose vectors are alike do
    not compete.
    """

    def forward(self, logits: Tensor, targets: Tensor, names: Tensor) -> Tensor:
        """Maps logits [B,n,N], names of cells [B,n], -1 for none, and vectors [N,E] to a scalar."""
        named = targets >= 0
        found = targets[named]
        if not len(found):
            return logits.sum() * 0
        rivals = names[found] @ names.T > _ALIKE
        rivals.scatter_(1, found.unsqueeze(1), value=False)
        entropy = F.cross_entropy(
            logits[named].masked_fill(rivals, -torch.inf), found, reduction="none"
        )
        weights = torch.bincount(found, minlength=len(names))[found].float().rsqrt()
        return (entropy * weights).sum() / weights.sum()


class NamedPictures(nn.Module):
    """A cross-entropy over names of a whole picture, of which any that it shows is right.

    Names whose vectors are like one of these do not compete.
    """

    def forward(self, logits: Tensor, present: Tensor, names: Tensor) -> Tensor:
        """Maps logits [B,N], the first V of N names that are there [B,V], and vectors [N,E]."""
        labelled = present.any(dim=1)
        if not labelled.any():
            return logits.sum() * 0
        logits, present = logits[labelled], present[labelled]
        alike = (names[: present.shape[1]] @ names.T > _ALIKE).float()
        rivals = present.float() @ alike == 0
        right = logits[:, : present.shape[1]].masked_fill(~present, -torch.inf).logsumexp(dim=1)
        wrong = logits.masked_fill(~rivals, -torch.inf).logsumexp(dim=1)
        return F.softplus(wrong - right).mean()


class SeenSomewhere(nn.Module):
    """A cross-entropy over names of a whole picture, which is its cells' logits, softly maximised.

    Other names that the picture shows do not compete.
    """

    def forward(self, logits: Tensor, places: Tensor, present: Tensor) -> Tensor:
        """The mean over names that are known to be somewhere.

        Args:
            logits: [B,n,V].
            places: bool [B,n,V], the cells among which a name is; none if it is not asked for.
            present: bool [B,V], all names that the picture shows.
        """
        picture, name = places.any(dim=1).nonzero(as_tuple=True)
        if not len(picture):
            return logits.sum() * 0
        where = places[picture, :, name]
        own = logits[picture, :, name].masked_fill(~where, -torch.inf)
        own = own.logsumexp(dim=1) - where.sum(dim=1).log()
        anywhere = logits[picture].logsumexp(dim=1) - torch.tensor(float(logits.shape[1])).log()
        others = anywhere.masked_fill(present[picture], -torch.inf)
        return F.softplus(others.logsumexp(dim=1) - own).mean()


class PresentNames(nn.Module):
    """A logistic regression of "this cell shows the name" on their cosine, and of its own scale."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(_PRESENCE_SCALE).log())
        self.bias = nn.Parameter(torch.tensor(_PRESENCE_BIAS))

    def forward(self, cosines: Tensor, targets: Tensor, absent: Tensor) -> Tensor:
        """Maps cosines [B,n,V], names of cells [B,n], -1 for none, and bool [B,n,V] to a scalar."""
        logits = self.scale.exp() * cosines + self.bias
        named = targets >= 0
        loss = logits.sum() * 0
        if named.any():
            own = logits[named].gather(1, targets[named].unsqueeze(1))
            loss = loss + F.softplus(-own).mean()
        if absent.any():
            loss = loss + _NEGATIVE_WEIGHT * F.softplus(logits[absent]).mean()
        return loss
