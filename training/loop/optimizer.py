"""The optimizer and its schedule, from a stage's settings."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from timm.optim.muon import Muon
from torch import nn

from training.errors import TrainingError
from training.loop_config import Optimisation

_BETAS = (0.9, 0.98)
_POSITIONS = ("pos", "attention_biases")
_MATRICES, _WEIGHTS, _PLAIN = "matrices", "weights", "plain"


def choose_trained(parts: Mapping[str, nn.Module], settings: Optimisation) -> None:
    """Freezes the parts without a multiplier, and puts the rest into training.

    What a module keeps frozen in training stays so.

    Raises:
        TrainingError: a multiplier names a part that the task does not have, or no module in one.
    """
    root = nn.ModuleDict(parts)
    modules = {name for name, _ in root.named_modules() if name}
    unknown = settings.multipliers.keys() - modules
    if unknown:
        raise TrainingError(f"no part is called {', '.join(sorted(unknown))}: {', '.join(parts)}")
    root.requires_grad_(False)
    root.eval()
    for name in sorted(settings.multipliers):  # a module before those in it
        trained = settings.multipliers[name] > 0
        root.get_submodule(name).requires_grad_(trained)
        root.get_submodule(name).train(trained)


def build_optimizer(
    parts: Mapping[str, nn.Module], settings: Optimisation
) -> torch.optim.Optimizer:
    """Groups what is trained, as `choose_trained` left it, by learning rate.

    A multiplier is a part's, or that of a module in it by its path: of several that a parameter is
    in, the innermost counts. With "muon", matrices and convolutions of hidden layers go to Muon,
    whose updates are scaled to the size of AdamW's so that one learning rate serves both; all else
    goes to AdamW. Biases, norms and positions have no weight decay.
    """
    groups: dict[tuple[str, str], dict[str, Any]] = {}
    for path, parameter in nn.ModuleDict(parts).named_parameters():
        if parameter.requires_grad:
            name = _innermost(path, settings.multipliers)
            kind = _kind(path, parameter, muon=settings.optimizer == "muon")
            group = groups.setdefault((name, kind), {"params": [], "name": name})
            group["factor"] = settings.multipliers[name]
            group["weight_decay"] = 0.0 if kind == _PLAIN else settings.weight_decay
            group["use_fallback"] = kind != _MATRICES
            group["params"].append(parameter)
    if settings.optimizer == "muon":
        return Muon(groups.values(), lr=settings.learning_rate, betas=_BETAS, nesterov=True)
    return torch.optim.AdamW(groups.values(), lr=settings.learning_rate, betas=_BETAS)


def _innermost(path: str, multipliers: Mapping[str, float]) -> str:
    return max((name for name in multipliers if path.startswith(f"{name}.")), key=len)


def _kind(path: str, parameter: nn.Parameter, *, muon: bool) -> str:
    """Returns whether Muon takes a parameter, and if not, whether it is decayed."""
    if parameter.ndim < 2 or any(word in path for word in _POSITIONS):
        return _PLAIN
    hidden = not any(word in path for word in ("embed", "token"))
    depthwise = parameter.ndim == 4 and parameter.shape[1] == 1
    return _MATRICES if muon and hidden and parameter.ndim in (2, 4) and not depthwise else _WEIGHTS


def set_learning_rate(
    optimizer: torch.optim.Optimizer, settings: Optimisation, *, step: int
) -> float:
    """Sets every group's rate for `step`: linear warm-up, a constant, then a cosine to nothing."""
    warm = min(1.0, (step + 1) / max(1, settings.warmup_steps))
    fallen = max(0.0, (step / settings.steps - settings.constant) / (1 - settings.constant))
    rate = settings.learning_rate * warm * 0.5 * (1 + math.cos(math.pi * fallen))
    for group in optimizer.param_groups:
        group["lr"] = rate * group["factor"]
    return rate
