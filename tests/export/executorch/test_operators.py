"""Operators in the place of others compute the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from export.executorch import operators


def draw(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(len(shape)))


X = draw(2, 3, 4, 5)

CASES: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
    "layer_norm": (
        lambda: operators.layer_norm(X, [5], X[0, 0, 0], X[1, 1, 1], 1e-6),
        lambda: F.layer_norm(X, [5], X[0, 0, 0], X[1, 1, 1], 1e-6),
    ),
    "layer_norm without weights": (
        lambda: operators.layer_norm(X, [5]),
        lambda: F.layer_norm(X, [5]),
    ),
    "length of channels": (
        lambda: operators.vector_norm(X, 2, [1], True),
        lambda: torch.linalg.vector_norm(X, dim=1, keepdim=True),
    ),
    "length of the last axis": (
        lambda: operators.vector_norm(X, 2.0, [-1], True),
        lambda: torch.linalg.vector_norm(X, dim=-1, keepdim=True),
    ),
    "mean": (lambda: operators.mean(X, [2, 3]), lambda: X.mean((2, 3))),
    "mean that keeps its axes": (
        lambda: operators.mean(X, [2, 3], True),
        lambda: X.mean((2, 3), keepdim=True),
    ),
    "product with a matrix": (lambda: operators.matmul(X, X[0, 0].T), lambda: X @ X[0, 0].T),
    "product of batches": (
        lambda: operators.matmul(X, X.transpose(2, 3)),
        lambda: X @ X.transpose(2, 3),
    ),
    "product with a matrix for each head": (
        lambda: operators.matmul(X, X[0].transpose(1, 2)),
        lambda: X @ X[0].transpose(1, 2),
    ),
    "product of a matrix for each head": (
        lambda: operators.matmul(X[0].transpose(1, 2), X),
        lambda: X[0].transpose(1, 2) @ X,
    ),
    "product of a vector for each head": (
        lambda: operators.matmul(X[0, :, :1], X.transpose(2, 3)),
        lambda: X[0, :, :1] @ X.transpose(2, 3),
    ),
    "product for one prompt": (
        lambda: operators.matmul(X[:1], X[0].transpose(1, 2)),
        lambda: X[:1] @ X[0].transpose(1, 2),
    ),
    "select": (lambda: operators.select(X, -2, -1), lambda: X.select(-2, -1)),
    "unsqueeze": (lambda: operators.unsqueeze(X, -1), lambda: X.unsqueeze(-1)),
    "unsqueeze at the front": (lambda: operators.unsqueeze(X, 0), lambda: X.unsqueeze(0)),
    "squeeze": (lambda: operators.squeeze(X[:1], 0), lambda: X[:1].squeeze(0)),
    "stack": (lambda: operators.stack([X, X + 1], 1), lambda: torch.stack([X, X + 1], 1)),
    "expand": (
        lambda: operators.expand(X[:, :1], [2, 7, -1, 5]),
        lambda: X[:, :1].expand(2, 7, -1, 5),
    ),
    "expand by an axis": (
        lambda: operators.expand(X[0], [6, 3, 4, 5]),
        lambda: X[0].expand(6, 3, 4, 5),
    ),
    "expand to its own shape": (lambda: operators.expand(X, [2, 3, 4, 5]), lambda: X),
    "nearest": (
        lambda: operators.nearest(X, None, [2.0, 2.0]),
        lambda: F.interpolate(X, scale_factor=2.0, mode="nearest"),
    ),
    "split": (
        lambda: torch.cat([each.flatten() for each in operators.split(X, 2, 1)]),
        lambda: torch.cat([each.flatten() for each in X.split(2, 1)]),
    ),
    "unbind": (
        lambda: torch.stack(operators.unbind(X, 1)),
        lambda: torch.stack(X.unbind(1)),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_same_numbers(case: str) -> None:
    ours, torchs = CASES[case]
    torch.testing.assert_close(ours(), torchs(), atol=1e-6, rtol=1e-5)
