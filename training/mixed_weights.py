"""Weights between those that a stage began with and those that it learned."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def mix_weights(student: nn.Module, first: dict[str, Tensor], *, learned: float) -> None:
    """Leaves a student what it learned to a share, and what it began with to the rest."""
    with torch.no_grad():
        for name, tensor in student.state_dict().items():
            if tensor.is_floating_point():
                tensor.lerp_(first[name].to(tensor), 1 - learned)
