"""The optimizer and its schedule, from a stage's settings."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from timm.optim.muon import Muon
from torch import nn

from training.config import Optimisation
from training.errors import TrainingError

_BETAS = (0.9, 0.98)
_POSITIONS = ("pos", "attention_biases")


def build_optimizer(
    parts: Mapping[str, nn.Module], settings: Optimisation
) -> torch.optim.Optimizer:
    """Freezes the parts without a multiplier and groups the rest by learning rate.

    With "muon", matrices and convolutions of hidden layers go to Muon, whose updates are scaled to
    the size of AdamW's so that one learning rate serves both; all else goes to AdamW. Biases, norms
    and positions have no weight decay.

    Raises:
        TrainingError: a multiplier names a part that the task does not have.
    """
    unknown = settings.multipliers.keys() - parts.keys()
    if unknown:
        raise TrainingError(f"no part is called {', '.join(sorted(unknown))}: {', '.join(parts)}")
    groups = []
    for name, part in parts.items():
        factor = settings.multipliers.get(name, 0.0)
        part.requires_grad_(factor > 0)
        part.train(factor > 0)
        if factor:
            groups += _groups(name, part, factor=factor, settings=settings)
    if settings.optimizer == "muon":
        return Muon(groups, lr=settings.learning_rate, betas=_BETAS, nesterov=True)
    return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=_BETAS)


def _groups(
    name: str, part: nn.Module, *, factor: float, settings: Optimisation
) -> list[dict[str, object]]:
    """A part's matrices, its other weights, and what is not decayed."""
    matrices, weights, plain = [], [], []
    for key, parameter in part.named_parameters():
        if parameter.ndim < 2 or any(word in key for word in _POSITIONS):
            plain.append(parameter)
        elif (
            settings.optimizer == "muon"
            and parameter.ndim in (2, 4)
            and not any(word in key for word in ("embed", "token"))
        ):
            matrices.append(parameter)
        else:
            weights.append(parameter)
    decay = settings.weight_decay
    groups = (
        {"params": matrices, "weight_decay": decay, "use_fallback": False},
        {"params": weights, "weight_decay": decay, "use_fallback": True},
        {"params": plain, "weight_decay": 0.0, "use_fallback": True},
    )
    return [group | {"name": name, "factor": factor} for group in groups if group["params"]]


def set_learning_rate(
    optimizer: torch.optim.Optimizer, settings: Optimisation, *, step: int
) -> float:
    """Sets every group's rate for `step`: linear warm-up, then a cosine to nothing."""
    warm = min(1.0, (step + 1) / max(1, settings.warmup_steps))
    rate = settings.learning_rate * warm * 0.5 * (1 + math.cos(math.pi * step / settings.steps))
    for group in optimizer.param_groups:
        group["lr"] = rate * group["factor"]
    return rate
