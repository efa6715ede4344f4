# ruff: noqa: D103 - the functions and their parameters are those of Apple's MIL specification
"""The elementwise operations and the reductions of an ML program, in torch.

See `mil_operations`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from export.coreml.mil_types import DTYPES, require

# Elementwise


def add(x: Tensor, y: Tensor) -> Tensor:
    return x + y


def sub(x: Tensor, y: Tensor) -> Tensor:
    return x - y


def mul(x: Tensor, y: Tensor) -> Tensor:
    return x * y


def real_div(x: Tensor, y: Tensor) -> Tensor:
    require(x.is_floating_point() and y.is_floating_point(), "real_div of integers")
    return x / y


def maximum(x: Tensor, y: Tensor) -> Tensor:
    return torch.maximum(x, y)


def minimum(x: Tensor, y: Tensor) -> Tensor:
    return torch.minimum(x, y)


def floor(x: Tensor) -> Tensor:
    return x.floor()


def clip(x: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
    return x.clamp(alpha, beta)


def less(x: Tensor, y: Tensor) -> Tensor:
    return x < y


def equal(x: Tensor, y: Tensor) -> Tensor:
    return x == y


def not_equal(x: Tensor, y: Tensor) -> Tensor:
    return x != y


def greater(x: Tensor, y: Tensor) -> Tensor:
    return x > y


def greater_equal(x: Tensor, y: Tensor) -> Tensor:
    return x >= y


def sin(x: Tensor) -> Tensor:
    return x.sin()


def cos(x: Tensor) -> Tensor:
    return x.cos()


def select(cond: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return torch.where(cond, a, b)


def cast(x: Tensor, dtype: str) -> Tensor:
    require(dtype in ("fp16", "fp32", "int32", "bool"), f"cast to {dtype}")
    # The interpreter rounds to fp16, as after every operation.
    return x.to(torch.float32 if dtype == "fp16" else DTYPES[dtype])


# Reductions


def reduce_max(x: Tensor, axes: Tensor, keep_dims: Tensor) -> Tensor:
    return x.amax(dim=axes.tolist(), keepdim=bool(keep_dims))


def reduce_min(x: Tensor, axes: Tensor, keep_dims: Tensor) -> Tensor:
    return x.amin(dim=axes.tolist(), keepdim=bool(keep_dims))


def reduce_sum(x: Tensor, keep_dims: Tensor, axes: Tensor | None = None) -> Tensor:
    over = list(range(x.ndim)) if axes is None else axes.tolist()
    return x.sum(dim=over, keepdim=bool(keep_dims))


def reduce_mean(x: Tensor, axes: Tensor, keep_dims: Tensor) -> Tensor:
    return x.mean(dim=axes.tolist(), keepdim=bool(keep_dims))


def rsqrt(x: Tensor, epsilon: Tensor) -> Tensor:
    return torch.rsqrt(x + epsilon)


def reduce_l2_norm(x: Tensor, axes: Tensor, keep_dims: Tensor) -> Tensor:
    return x.square().sum(dim=axes.tolist(), keepdim=bool(keep_dims)).sqrt()


def reduce_argmax(x: Tensor, axis: Tensor, keep_dims: Tensor, output_dtype: str) -> Tensor:
    require(output_dtype == "int32", f"reduce_argmax to {output_dtype}")
    return x.argmax(dim=int(axis), keepdim=bool(keep_dims))
