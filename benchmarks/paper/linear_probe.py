"""Linear probes: multinomial logistic regression on standardised features, by L-BFGS."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

STRENGTHS = (1e-1, 1e-2, 1e-3, 1e-4)
"""L2 penalties to choose from."""

_ITERATIONS = 200


@dataclass(frozen=True)
class LinearProbe:
    """Logits of C classes from features of width D: weight [D,C], bias [C], the penalty `l2`."""

    weight: Tensor
    bias: Tensor
    l2: float

    def __call__(self, features: Tensor) -> Tensor:
        """Maps features [...,D] to logits [...,C]."""
        return features @ self.weight + self.bias


def fit(features: Tensor, targets: Tensor, *, l2: float) -> LinearProbe:
    """Fits one probe of features [N,D]; the same input gives the same probe.

    A row of targets [N,C] is a distribution over classes: one-hot, or the shares of a patch's
    pixels. Half of `l2` is the penalty on the squared norm of the weights of standardised features.
    """
    mean = features.mean(dim=0)
    scale = features.std(dim=0, correction=0).clamp(min=1e-6)
    inputs = (features - mean) / scale
    weight = torch.zeros(features.shape[1], targets.shape[1], requires_grad=True)
    bias = torch.zeros(targets.shape[1], requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weight, bias], max_iter=_ITERATIONS, history_size=10, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        entropy = F.cross_entropy(inputs @ weight + bias, targets)
        loss: Tensor = entropy + 0.5 * l2 * weight.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    with torch.no_grad():
        own = weight / scale[:, None]
        return LinearProbe(own, bias - mean @ own, l2)


def fit_best(
    features: Tensor,
    targets: Tensor,
    *,
    judge: Callable[[LinearProbe], float],
    strengths: Sequence[float] = STRENGTHS,
) -> LinearProbe:
    """Fits a probe for each strength and keeps the best; of equals, the one of the strongest.

    The judge, the higher the better, takes data that is neither trained nor tested on.
    """
    probes = [fit(features, targets, l2=l2) for l2 in sorted(strengths, reverse=True)]
    return max(probes, key=judge)
