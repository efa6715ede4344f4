# ruff: noqa: D103 - the functions and their parameters are those of Apple's MIL specification
"""The operations of an ML program, in torch.

Each operation is a function whose parameters have the names of Apple's specification. Tensors are
fp32 (fp16 is converted), int32 or bool; constants are tensors too, except strings. An unknown
parameter, or an unknown value of one, is an error: nothing is ignored.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F

from export.coreml.mil_arithmetic import (
    add,
    cast,
    clip,
    cos,
    equal,
    floor,
    greater,
    greater_equal,
    less,
    maximum,
    minimum,
    mul,
    not_equal,
    real_div,
    reduce_argmax,
    reduce_l2_norm,
    reduce_max,
    reduce_mean,
    reduce_min,
    reduce_sum,
    rsqrt,
    select,
    sin,
    sub,
)
from export.coreml.mil_types import require

Result: TypeAlias = "Tensor | tuple[Tensor, ...]"

# Layers


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    return F.linear(x, weight, bias)


def matmul(x: Tensor, y: Tensor, transpose_x: Tensor, transpose_y: Tensor) -> Tensor:
    return (x.mT if transpose_x else x) @ (y.mT if transpose_y else y)


def conv(
    x: Tensor,
    weight: Tensor,
    strides: Tensor,
    pad_type: str,
    pad: Tensor,
    dilations: Tensor,
    groups: Tensor,
    bias: Tensor | None = None,
) -> Tensor:
    require(weight.ndim == 4, f"conv of {weight.ndim - 2} axes")
    return F.conv2d(
        F.pad(x, _padding(pad_type, pad, name="conv")),
        weight,
        bias,
        stride=strides.tolist(),
        dilation=dilations.tolist(),
        groups=int(groups),
    )


def conv_transpose(
    x: Tensor,
    weight: Tensor,
    pad: Tensor,
    pad_type: str,
    strides: Tensor,
    dilations: Tensor,
    groups: Tensor,
    output_shape: Tensor,
    bias: Tensor | None = None,
) -> Tensor:
    require(weight.ndim == 4, f"conv_transpose of {weight.ndim - 2} axes")
    y = F.conv_transpose2d(
        x,
        weight,
        bias,
        stride=strides.tolist(),
        dilation=dilations.tolist(),
        groups=int(groups),
    )
    y = F.pad(y, [-side for side in _padding(pad_type, pad, name="conv_transpose")])
    require(list(y.shape) == output_shape.tolist(), "conv_transpose with padding of its output")
    return y


def avg_pool(
    x: Tensor,
    kernel_sizes: Tensor,
    strides: Tensor,
    pad_type: str,
    pad: Tensor,
    exclude_padding_from_average: Tensor,
    ceil_mode: Tensor,
) -> Tensor:
    padding = _padding(pad_type, pad, name="avg_pool")
    # Without padding, `exclude_padding_from_average` has no effect.
    require(not any(padding), "avg_pool with padding")
    require(not ceil_mode and x.ndim == 4, "avg_pool with ceil_mode, or of other than two axes")
    return F.avg_pool2d(x, kernel_sizes.tolist(), strides.tolist())


def max_pool(
    x: Tensor, kernel_sizes: Tensor, strides: Tensor, pad_type: str, pad: Tensor, ceil_mode: Tensor
) -> Tensor:
    padding = _padding(pad_type, pad, name="max_pool")
    require(not any(padding), "max_pool with padding")
    require(not ceil_mode and x.ndim == 4, "max_pool with ceil_mode, or of other than two axes")
    return F.max_pool2d(x, kernel_sizes.tolist(), strides.tolist())


def layer_norm(
    x: Tensor,
    axes: Tensor,
    epsilon: Tensor,
    gamma: Tensor | None = None,
    beta: Tensor | None = None,
) -> Tensor:
    last = [axis % x.ndim for axis in axes.tolist()]
    require(last == list(range(x.ndim - len(last), x.ndim)), "layer_norm of other than last axes")
    return F.layer_norm(x, [x.shape[axis] for axis in last], gamma, beta, float(epsilon))


def softmax(x: Tensor, axis: Tensor) -> Tensor:
    return x.softmax(dim=int(axis))


def gelu(x: Tensor, mode: str) -> Tensor:
    require(mode in ("EXACT", "TANH_APPROXIMATION"), f"gelu of mode {mode}")
    return F.gelu(x, approximate="none" if mode == "EXACT" else "tanh")


def relu(x: Tensor) -> Tensor:
    return x.relu()


def relu6(x: Tensor) -> Tensor:
    return F.relu6(x)


def silu(x: Tensor) -> Tensor:
    return F.silu(x)


def sigmoid(x: Tensor) -> Tensor:
    return x.sigmoid()


def upsample_bilinear(
    x: Tensor,
    scale_factor_height: Tensor,
    scale_factor_width: Tensor,
    align_corners: Tensor,
    half_pixel_centers: Tensor | None = None,
) -> Tensor:
    require(not align_corners, "upsample_bilinear that aligns corners")
    require(half_pixel_centers is None or bool(half_pixel_centers), "other pixels than half ones")
    factors = (float(scale_factor_height), float(scale_factor_width))
    return F.interpolate(x, scale_factor=factors, mode="bilinear")


def upsample_nearest_neighbor(
    x: Tensor, scale_factor_height: Tensor, scale_factor_width: Tensor
) -> Tensor:
    sides = (float(scale_factor_height), float(scale_factor_width))
    return F.interpolate(x, scale_factor=sides, mode="nearest")


def _padding(pad_type: str, pad: Tensor, *, name: str) -> list[int]:
    """Reorders MIL's (top, bottom, left, right) to torch's (left, right, top, bottom)."""
    require(pad_type in ("valid", "custom"), f"{name} with pad_type {pad_type}")
    if pad_type == "valid":  # `pad` is then ignored
        return [0, 0, 0, 0]
    sides: list[int] = pad.tolist()
    require(len(sides) == 4, f"{name} with a pad of {len(sides)} numbers")
    return [*sides[2:], *sides[:2]]


# Shapes


def reshape(x: Tensor, shape: Tensor) -> Tensor:
    require(0 not in shape.tolist(), "reshape to a shape with 0")
    return x.reshape(shape.tolist())


def transpose(x: Tensor, perm: Tensor) -> Tensor:
    return x.permute(perm.tolist())


def expand_dims(x: Tensor, axes: Tensor) -> Tensor:
    rank = x.ndim + len(axes)
    for axis in sorted(axis % rank for axis in axes.tolist()):
        x = x.unsqueeze(axis)
    return x


def squeeze(x: Tensor, axes: Tensor) -> Tensor:
    require(all(x.shape[axis] == 1 for axis in axes.tolist()), "squeeze of a long axis")
    return x.squeeze(axes.tolist())


def tile(x: Tensor, reps: Tensor) -> Tensor:
    return x.repeat(reps.tolist())


def concat(values: Sequence[Tensor], axis: Tensor, interleave: Tensor) -> Tensor:
    require(not interleave, "concat with interleave")
    return torch.cat(list(values), dim=int(axis))


def stack(values: Sequence[Tensor], axis: Tensor) -> Tensor:
    return torch.stack(list(values), dim=int(axis))


def split(
    x: Tensor,
    axis: Tensor,
    split_sizes: Tensor | None = None,
    num_splits: Tensor | None = None,
) -> tuple[Tensor, ...]:
    if split_sizes is None:
        assert num_splits is not None
        return torch.tensor_split(x, int(num_splits), dim=int(axis))
    return torch.split(x, split_sizes.tolist(), dim=int(axis))


def slice_by_index(
    x: Tensor,
    begin: Tensor,
    end: Tensor,
    stride: Tensor | None = None,
    begin_mask: Tensor | None = None,
    end_mask: Tensor | None = None,
    squeeze_mask: Tensor | None = None,
) -> Tensor:
    none = torch.zeros(x.ndim, dtype=torch.bool)
    steps = [1] * x.ndim if stride is None else stride.tolist()
    require(all(step > 0 for step in steps), "slice_by_index backwards")
    open_left = none if begin_mask is None else begin_mask
    open_right = none if end_mask is None else end_mask
    squeezed = none if squeeze_mask is None else squeeze_mask
    index: list[slice | int] = []
    for axis, step in enumerate(steps):
        if squeezed[axis]:
            index.append(int(begin[axis]))
        else:
            left = None if open_left[axis] else int(begin[axis])
            right = None if open_right[axis] else int(end[axis])
            index.append(slice(left, right, step))
    return x[tuple(index)]


def pixel_shuffle(x: Tensor, upscale_factor: Tensor) -> Tensor:
    return F.pixel_shuffle(x, int(upscale_factor))


def pixel_unshuffle(x: Tensor, downscale_factor: Tensor) -> Tensor:
    return F.pixel_unshuffle(x, int(downscale_factor))


def pad(x: Tensor, pad: Tensor, mode: str, constant_val: Tensor) -> Tensor:
    require(mode == "constant", f"pad of mode {mode}")
    pairs = pad.reshape(-1, 2).flip(0)  # torch counts from the last axis
    return F.pad(x, pairs.flatten().tolist(), value=float(constant_val))


def fill(shape: Tensor, value: Tensor) -> Tensor:
    return value.expand(shape.tolist())


def gather(
    x: Tensor, indices: Tensor, axis: Tensor, batch_dims: Tensor, validate_indices: Tensor
) -> Tensor:
    require(int(batch_dims) == 0 and not validate_indices, "gather with batch_dims or validation")
    where = int(axis) % x.ndim
    found = x.index_select(where, indices.flatten())
    return found.reshape(*x.shape[:where], *indices.shape, *x.shape[where + 1 :])


# Compressed constants


def constexpr_affine_dequantize(
    quantized_data: Tensor, zero_point: Tensor, scale: Tensor, axis: Tensor
) -> Tensor:
    shape = [1] * quantized_data.ndim
    shape[int(axis)] = -1
    zero, step = (
        each.float().reshape(shape) if each.ndim else each.float() for each in (zero_point, scale)
    )
    return (quantized_data.float() - zero) * step


def constexpr_lut_to_dense(indices: Tensor, lut: Tensor, shape: Tensor) -> Tensor:
    bits = len(lut).bit_length() - 1
    require(len(lut) == 1 << bits and 0 < bits <= 8, f"a palette of {len(lut)} values")
    count = int(torch.tensor(shape.tolist()).prod())
    # Indices of `bits` bits are packed without gaps, the lowest bit first.
    stream = (indices.unsqueeze(-1) >> torch.arange(8, dtype=torch.uint8)) & 1
    chosen = stream.flatten()[: count * bits].reshape(count, bits).int()
    return lut[(chosen << torch.arange(bits)).sum(-1)].reshape(shape.tolist())


OPERATIONS: Mapping[str, Callable[..., Result]] = {
    function.__name__: function
    for function in (
        *(linear, matmul, conv, conv_transpose, avg_pool, max_pool, layer_norm),
        *(softmax, gelu, relu, relu6, silu, sigmoid),
        *(upsample_bilinear, upsample_nearest_neighbor),
        *(
            add,
            sub,
            mul,
            real_div,
            maximum,
            minimum,
            floor,
            clip,
            less,
            equal,
            not_equal,
            greater,
            greater_equal,
        ),
        *(sin, cos, rsqrt, select, cast),
        *(reduce_max, reduce_min, reduce_sum, reduce_mean, reduce_l2_norm, reduce_argmax),
        *(reshape, transpose, expand_dims, squeeze, tile, concat, stack, split),
        *(slice_by_index, pixel_shuffle, pixel_unshuffle, pad, fill, gather),
        *(constexpr_affine_dequantize, constexpr_lut_to_dense),
    )
}
