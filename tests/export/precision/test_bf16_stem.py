"""What bf16 is too coarse for stays in fp32: as much as is needed, and no more."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from export.precision.bf16_stem import find_bf16_stem
from export.program import export_program

FEEDS = [{"image": np.random.default_rng(0).integers(0, 256, (1, 3, 32, 32), dtype=np.uint8)}]


class Encoder(nn.Module):
    """A stem of two steps, and a body that two values of the same image reach."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Conv2d(3, 3, 3, padding=1)
        torch.manual_seed(0)
        nn.init.normal_(self.body.weight)

    def forward(self, image: Tensor) -> Tensor:
        raised = image.float() + 1000.0  # its differences are far below the last digit of bf16
        differences = raised - raised.mean(dim=(2, 3), keepdim=True)
        told: Tensor = differences + torch.relu(self.body(differences))
        return told


def traced(module: nn.Module) -> ExportedProgram:
    example = {"image": torch.tensor(FEEDS[0]["image"])}
    return export_program(module, example=example, dynamic_axes={})


def test_the_stem_ends_where_rounding_does_no_more_harm() -> None:
    """Not at `raised`, nor at its mean: both are still read behind them."""
    program = traced(Encoder())
    (subtraction,) = (n.name for n in program.graph.nodes if n.name.startswith("sub"))
    assert find_bf16_stem(program, feeds=FEEDS) == subtraction


def test_there_is_none_if_bf16_is_good_enough() -> None:
    class Plain(nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            return torch.relu(image.float() / 255)

    assert find_bf16_stem(traced(Plain()), feeds=FEEDS) is None


def test_it_is_the_best_one_if_none_is_enough() -> None:
    class Steep(nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            found = image.float()
            for _ in range(16):
                found = torch.sin(found * 4)
            return found

    assert find_bf16_stem(traced(Steep()), feeds=FEEDS) == "sin_11"
