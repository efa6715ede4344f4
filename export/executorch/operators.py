"""Writes a program in the operators that XNNPACK takes, so that few delegates hold most of it.

What XNNPACK does not take stays outside of its delegates: ExecuTorch's portable kernels compute it,
and each stay outside costs a copy in and a copy out. Nothing here changes what is computed, up to
the order of sums.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F

Table: TypeAlias = "Mapping[Any, Callable[..., Any]]"

aten = torch.ops.aten


def layer_norm(
    x: Tensor,
    shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    cudnn_enable: bool = True,
) -> Tensor:
    """A layer norm over the last axis, whose means are products with a constant."""
    assert len(shape) == 1
    centred = x - _mean(x)
    y = centred * torch.rsqrt(_mean(centred * centred) + eps)
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


def vector_norm(
    x: Tensor,
    ord: float = 2,
    dim: Sequence[int] | None = None,
    keepdim: bool = False,
    *,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """The length of the vectors along one axis."""
    assert ord == 2
    assert dim is not None
    assert keepdim
    axis = dim[0] % x.dim()
    if axis == x.dim() - 1:
        return torch.sqrt(_sum(x * x, factor=1.0))
    return torch.sqrt(_sum((x * x).transpose(axis, -1), factor=1.0)).transpose(axis, -1)


def mean(
    x: Tensor, dim: Sequence[int], keepdim: bool = False, *, dtype: torch.dtype | None = None
) -> Tensor:
    """A mean over a map's places; XNNPACK keeps both axes."""
    kept = x.mean(list(dim), keepdim=True)
    return kept if keepdim else kept.reshape(_without(x.shape, dim))


def matmul(left: Tensor, right: Tensor) -> Tensor:
    """A product of batches of matrices, without copies of a matrix that a batch shares."""
    if right.dim() == 2:
        return F.linear(left, right.transpose(0, 1))
    rows, inner, columns = left.shape[-2], left.shape[-1], right.shape[-1]
    if left.shape[:-2] == right.shape[:-2]:
        flat = torch.bmm(left.reshape(-1, rows, inner), right.reshape(-1, inner, columns))
        return flat.reshape(*left.shape[:-1], columns)
    if left.dim() < right.dim() and rows == 1:  # whose product XNNPACK lowers and cannot run
        return _sum(right.transpose(-2, -1) * left, factor=1.0).transpose(-2, -1)
    if left.dim() < right.dim():
        return matmul(right.transpose(-2, -1), left.transpose(-2, -1)).transpose(-2, -1)
    # The left one has a matrix for each prompt and head, the right one for each head.
    prompts, heads = left.shape[:2]
    many = left.transpose(0, 1).reshape(heads, prompts * rows, inner)
    flat = torch.bmm(many, right.reshape(heads, inner, columns))
    return flat.reshape(heads, prompts, rows, columns).transpose(0, 1)


def select(x: Tensor, dim: int, index: int) -> Tensor:
    """One index of an axis."""
    at = index % x.shape[dim]
    taken: Tensor = aten.slice.Tensor(x, dim, at, at + 1)
    return taken.reshape(_without(x.shape, [dim]))


def unsqueeze(x: Tensor, dim: int) -> Tensor:
    """A new axis of length 1."""
    shape = list(x.shape)
    shape.insert(dim % (x.dim() + 1), 1)
    return x.reshape(shape)


def squeeze(x: Tensor, dim: int) -> Tensor:
    """Without an axis of length 1."""
    return x.reshape(_without(x.shape, [dim]))


def stack(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Tensors along a new axis."""
    return torch.cat([unsqueeze(each, dim) for each in tensors], dim)


def split(x: Tensor, size: int, dim: int = 0) -> list[Tensor]:
    """Parts of an axis."""
    return [aten.slice.Tensor(x, dim, at, at + size) for at in range(0, x.shape[dim], size)]


def unbind(x: Tensor, dim: int = 0) -> list[Tensor]:
    """Every index of an axis."""
    return [select(x, dim, index) for index in range(x.shape[dim])]


def expand(x: Tensor, size: Sequence[int], *, implicit: bool = False) -> Tensor:
    """A tensor repeated along axes of length 1."""
    lengths = (1,) * (len(size) - x.dim()) + tuple(x.shape)
    shape = [own if length == -1 else length for length, own in zip(size, lengths, strict=True)]
    y = x.reshape(lengths)
    if shape == list(lengths):
        return y
    return y * torch.ones([b if a == 1 else 1 for a, b in zip(lengths, shape, strict=True)])


def nearest(
    x: Tensor, output_size: Sequence[int] | None, scale_factors: Sequence[float] | None
) -> Tensor:
    """A map [B,C,h,w] in which each place stands twice in each direction."""
    assert scale_factors == [2.0, 2.0]
    batch, channels, height, width = x.shape
    twice = x.reshape(batch, channels, height, 1, width, 1) * torch.ones(1, 1, 1, 2, 1, 2)
    return twice.reshape(batch, channels, 2 * height, 2 * width)


TABLE: Table = {
    aten.layer_norm.default: layer_norm,
    aten.linalg_vector_norm.default: vector_norm,
    aten.mean.dim: mean,
    aten.matmul.default: matmul,
    aten.select.int: select,
    aten.unsqueeze.default: unsqueeze,
    aten.squeeze.dim: squeeze,
    aten.stack.default: stack,
    aten.split.Tensor: split,
    aten.unbind.int: unbind,
    aten.expand.default: expand,
    aten.upsample_nearest2d.vec: nearest,
    # What they were traced on may lie in memory in another order now.
    aten.view.default: torch.reshape,
    aten._unsafe_view.default: torch.reshape,
}
"""Operator -> the same in operators that XNNPACK takes, for tensors of fixed shapes."""


def _mean(x: Tensor) -> Tensor:
    """The mean over the last axis, which stays."""
    return _sum(x, factor=1 / x.shape[-1])


def _sum(x: Tensor, *, factor: float) -> Tensor:
    """The sum over the last axis, which stays, times a factor."""
    return F.linear(x, torch.full((1, x.shape[-1]), factor))


def _without(shape: Sequence[int], dims: Sequence[int]) -> list[int]:
    gone = {dim % len(shape) for dim in dims}
    return [length for index, length in enumerate(shape) if index not in gone]
