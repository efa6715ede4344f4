"""Optimizers and their schedule, from a stage's settings."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import nn

from training.config import Optimisation


def build_optimizers(
    parts: Mapping[str, nn.Module], settings: Optimisation
) -> list[torch.optim.Optimizer]:
    """Freezes the parts without a multiplier and groups the rest by learning rate.

    With "muon", matrices of hidden layers go to Muon, whose updates are scaled to the size of
    AdamW's so that one learning rate serves both; all else goes to AdamW. Biases, norms and
    positions have no weight decay.

    Raises:
        ValueError: a multiplier names a part that the task does not have.
    """
    unknown = settings.multipliers.keys() - parts.keys()
    if unknown:
        raise ValueError(f"no part is called {', '.join(sorted(unknown))}: {', '.join(parts)}")
    matrices, decayed, plain = [], [], []
    for name, part in parts.items():
        factor = settings.multipliers.get(name, 0.0)
        part.requires_grad_(factor > 0)
        part.train(factor > 0)
        if not factor:
            continue
        own: tuple[list[nn.Parameter], ...] = ([], [], [])
        for key, parameter in part.named_parameters():
            hidden = parameter.ndim == 2 and not any(x in key for x in ("embed", "pos", "token"))
            if hidden and settings.optimizer == "muon":
                own[0].append(parameter)
            else:
                own[1 if parameter.ndim > 1 and "pos" not in key else 2].append(parameter)
        for groups, parameters in zip((matrices, decayed, plain), own, strict=True):
            if parameters:
                groups.append({"params": parameters, "factor": factor})
    for group in plain:
        group["weight_decay"] = 0.0
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(
            decayed + plain,
            lr=settings.learning_rate,
            betas=(0.9, 0.98),
            weight_decay=settings.weight_decay,
        )
    ]
    if matrices:
        optimizers.append(
            torch.optim.Muon(
                matrices,
                lr=settings.learning_rate,
                weight_decay=settings.weight_decay,
                adjust_lr_fn="match_rms_adamw",
            )
        )
    return optimizers


def set_learning_rate(
    optimizers: list[torch.optim.Optimizer], settings: Optimisation, *, step: int
) -> float:
    """Sets every group's rate for `step`: linear warm-up, then a cosine to nothing."""
    warm = min(1.0, (step + 1) / max(1, settings.warmup_steps))
    rate = settings.learning_rate * warm * 0.5 * (1 + math.cos(math.pi * step / settings.steps))
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = rate * group["factor"]
    return rate
