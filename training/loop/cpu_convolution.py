"""Convolutions of a training step in bf16 on a CPU, as fast as oneDNN computes them.

A frozen BatchNorm and a ReLU6 behind a convolution are computed with it, in one pass, and in fp32
up to the end of that. torch's gradients of depthwise convolutions in bf16 take up to ten times as
long as need be; here they are made of products that it computes fast.
"""

from __future__ import annotations

import itertools
from functools import partial
from typing import Any

import torch
from timm.layers.conv2d_same import Conv2dSame
from torch import Tensor, nn
from torch.nn import functional as F

from samclip_sdk.modeling.batch_norm import is_frozen, scale_and_shift, what_they_follow
from samclip_sdk.modeling.pyramid_encoder import PyramidEncoder

_PIECE = 3  # side of the kernels whose gradient torch computes fast
_EXACT = 3  # first convolutions of a network that stay in fp32: all others inherit their errors


def speed_up_convolutions(module: nn.Module) -> None:
    """Changes how the convolutions of a module are computed under autocast, and not otherwise.

    Those with a frozen BatchNorm behind them, in the backbones of pyramid encoders, and depthwise
    ones anywhere.
    """
    for each in module.modules():
        if isinstance(each, PyramidEncoder):
            join_frozen_norms(each.backbone, example=each.pixel_mean.new_zeros(1, 3, 64, 64))
    for each in module.modules():
        if isinstance(each, nn.Conv2d) and each.groups > 1 and _is_plain(each):
            vars(each).setdefault("forward", partial(_convolve, each, None, torch.bfloat16))


@torch.no_grad()
def join_frozen_norms(module: nn.Module, *, example: Tensor) -> None:
    """Joins convolutions and the frozen BatchNorm, with its activation, behind each, for autocast.

    All compute in bf16 but the first. With these in fp32, which takes a few milliseconds, the
    whole model's gradient has half of the error.

    Args:
        module: a network, for images whose sides stay even as far as they are halved.
        example: an input of its forward, which is run once to find the order of the layers.
    """
    followed = what_they_follow(module, example=example)
    for number, (path, conv) in enumerate(followed.items()):
        norm = module.get_submodule(path)
        assert isinstance(norm, nn.BatchNorm2d)
        known = isinstance(getattr(norm, "act", nn.Identity()), (nn.ReLU6, nn.Identity))
        if conv is not None and is_frozen(norm) and known and _is_plain(conv):
            dtype = torch.float32 if number < _EXACT else torch.bfloat16
            vars(conv)["forward"] = partial(_convolve, conv, norm, dtype)
            vars(norm)["forward"] = partial(_pass_on, norm)


def _is_plain(conv: nn.Conv2d) -> bool:
    """Whether a convolution is full or depthwise, and square in all that it is set to."""
    sides = (conv.kernel_size, conv.stride, conv.padding, conv.dilation)
    return (
        all(len(set(each)) == 1 for each in sides)
        and conv.padding_mode == "zeros"
        and conv.dilation[0] == 1
        and conv.kernel_size[0] >= (1 if conv.groups == 1 else _PIECE)
        and (conv.groups == 1 or conv.groups == conv.in_channels == conv.out_channels)
        and (
            not isinstance(conv, Conv2dSame) or (conv.kernel_size[0] % 2, conv.stride[0]) == (1, 2)
        )
    )


def _convolve(
    conv: nn.Conv2d, norm: nn.BatchNorm2d | None, dtype: torch.dtype, x: Tensor
) -> Tensor:
    """The forward of a convolution: under autocast in a type, with the norm behind it."""
    if not torch.is_autocast_enabled("cpu"):
        return type(conv).forward(conv, x)
    weight, bias, padding = conv.weight, conv.bias, int(conv.padding[0])
    if norm is not None:
        scale, shift = scale_and_shift(norm)
        weight = weight * scale.view(-1, 1, 1, 1)
        bias = shift if bias is None else bias * scale + shift
    if isinstance(conv, Conv2dSame):
        # An even side is padded by one less before than behind. A row of zeros in the kernel does
        # the same, and no padded copy is made.
        padding = conv.kernel_size[0] // 2
        weight = F.pad(weight, (1, 0, 1, 0))
    bounded = isinstance(getattr(norm, "act", None), nn.ReLU6)
    y: Tensor = Convolution.apply(  # type: ignore[no-untyped-call]  # torch's
        x.to(dtype), weight, bias, conv.stride[0], padding, conv.groups, bounded
    )
    return y


def _pass_on(norm: nn.BatchNorm2d, x: Tensor) -> Tensor:
    """The forward of a norm that `_convolve` computes under autocast."""
    return x if torch.is_autocast_enabled("cpu") else type(norm).forward(norm, x)


class Convolution(torch.autograd.Function):
    """A full or depthwise convolution of x [B,C,H,W], whose outputs may be bounded as by ReLU6."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        stride: int,
        padding: int,
        groups: int,
        bounded: bool,
    ) -> Tensor:
        """Computes it in the type of x, with the bias in fp32."""
        x = x.contiguous(memory_format=torch.channels_last)
        kernel = weight.to(x.dtype)
        activation: tuple[str, list[float]] = ("hardtanh", [0.0, 6.0]) if bounded else ("none", [])
        y: Tensor = torch.ops.mkldnn._convolution_pointwise(
            x, kernel, bias, [padding] * 2, [stride] * 2, [1, 1], groups, *activation, ""
        )
        ctx.save_for_backward(x, kernel, y if bounded else None)
        ctx.stride, ctx.padding, ctx.groups = stride, padding, groups
        return y

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Returns the gradients of x, the weight and the bias."""
        x, kernel, y = ctx.saved_tensors
        if y is not None:
            gradient = torch.ops.aten.hardtanh_backward(gradient, y, 0.0, 6.0)
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        wanted, geometry = ctx.needs_input_grad[:3], (ctx.stride, ctx.padding)
        of_x, of_weight = None, None
        if ctx.groups == 1:
            of_x, of_weight = _gradients(gradient, x, kernel, *geometry, wanted=wanted[:2])
        else:
            if wanted[0]:
                of_x = _depthwise_input_gradient(gradient, x, kernel, *geometry)
            if wanted[1]:
                of_weight = _depthwise_weight_gradient(gradient, x, kernel, *geometry)
        of_bias = gradient.sum(dim=(0, 2, 3), dtype=torch.float32) if wanted[2] else None
        if of_weight is not None:
            of_weight = of_weight.float()
        return of_x, of_weight, of_bias, None, None, None, None


def _gradients(
    gradient: Tensor,
    x: Tensor,
    kernel: Tensor,
    stride: int,
    padding: int,
    *,
    groups: int = 1,
    wanted: tuple[bool, bool],
) -> tuple[Tensor | None, Tensor | None]:
    """Torch's own gradients of x and of the kernel, where they are wanted."""
    of_x, of_kernel, _ = torch.ops.aten.convolution_backward(
        gradient,
        x,
        kernel,
        None,
        [stride] * 2,
        [padding] * 2,
        [1, 1],
        False,
        [0, 0],
        groups,
        [*wanted, False],
    )
    return of_x, of_kernel


def _depthwise_input_gradient(
    gradient: Tensor, x: Tensor, kernel: Tensor, stride: int, padding: int
) -> Tensor:
    """With stride 1 a convolution with the kernel turned round; else torch's own, in fp32."""
    groups = len(kernel)
    if stride == 1:
        around = kernel.shape[-1] - 1 - padding
        turned = kernel.flip(2, 3)
        y: Tensor = torch.ops.mkldnn._convolution_pointwise(
            gradient, turned, None, [around] * 2, [1, 1], [1, 1], groups, "none", [], ""
        )
        return y
    shaped = torch.empty_like(x, dtype=torch.float32)
    of_x, _ = _gradients(
        gradient.float(),
        shaped,
        kernel.float(),
        stride,
        padding,
        groups=groups,
        wanted=(True, False),
    )
    assert of_x is not None
    return of_x.to(x.dtype)


def _depthwise_weight_gradient(
    gradient: Tensor, x: Tensor, kernel: Tensor, stride: int, padding: int
) -> Tensor:
    """Of pieces of the kernel, [C,1,3,3] each, which overlap."""
    side = kernel.shape[-1]
    padded = F.pad(x.permute(0, 2, 3, 1), (0, 0, *[padding] * 4)).permute(0, 3, 1, 2)
    height, width = (stride * (each - 1) + _PIECE for each in gradient.shape[2:])
    whole = torch.empty_like(kernel, dtype=torch.float32)
    piece = kernel[..., :_PIECE, :_PIECE].contiguous()
    starts = sorted({min(first, side - _PIECE) for first in range(0, side, _PIECE)})
    for top, left in itertools.product(starts, starts):
        seen = padded[..., top : top + height, left : left + width]
        _, found = _gradients(
            gradient, seen, piece, stride, 0, groups=len(kernel), wanted=(False, True)
        )
        assert found is not None
        whole[..., top : top + _PIECE, left : left + _PIECE] = found
    return whole
