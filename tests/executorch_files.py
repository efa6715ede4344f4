"""ExecuTorch programs of a few operations, made by the exporter; they need executorch itself."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

needs_executorch = pytest.mark.skipif(
    importlib.util.find_spec("executorch") is None,
    reason="executorch is not installed: make test-executorch",
)


class Arithmetic(nn.Module):
    """Inputs and outputs are in another order than the contract's: they are bound by name."""

    def forward(self, count: Tensor, right: Tensor, left: Tensor) -> tuple[Tensor, Tensor]:
        return left * count, left - right


@functools.cache
def arithmetic(
    rows: Sequence[int] = (1, 8),
    width: int = 3,
    count_name: str = "count",
    count_type: torch.dtype = torch.int32,
) -> bytes:
    """The graph of tests/runtimes/test_sessions.py with a method for each bucket."""
    from export.executorch.to_executorch import lower

    programs = {}
    for count in rows:
        left, right = torch.zeros(count, width), torch.zeros(count, width)
        given = (torch.zeros(1, dtype=count_type), right, left)
        program = torch.export.export(Arithmetic(), given, strict=False)
        programs[f"rows_{count}"] = program.run_decompositions({})
    names = [count_name, "right", "left"]
    return lower(programs, inputs=names, outputs=["product", "difference"]).content


def write_arithmetic(path: Path, content: bytes | None = None) -> Path:
    """Writes that graph, or what is made of it."""
    path.write_bytes(arithmetic() if content is None else content)
    return path
