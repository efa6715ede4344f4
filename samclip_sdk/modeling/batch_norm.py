"""Freezes BatchNorm for training, and folds it into other layers for an export."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def freeze_batch_norm(module: nn.Module) -> None:
    """Freezes the statistics, weight and bias of each BatchNorm; weight and bias become buffers.

    No optimiser sees them, and `train` of any module leaves each BatchNorm in eval mode. The names
    in the state dict stay the same.
    """
    for norm in _batch_norms(module):
        for name in ("weight", "bias"):
            values = getattr(norm, name).detach().clone()
            delattr(norm, name)
            norm.register_buffer(name, values)
        # timm's BatchNorms contain an activation, so each must stay a subclass of its own class.
        kind = type(norm)
        norm.__class__ = type(f"Frozen{kind.__name__}", (_Frozen, kind), {})
        norm.eval()


class _Frozen(nn.Module):
    """A module that stays in eval mode."""

    def train(self, mode: bool = True) -> _Frozen:
        """Leaves the module in eval mode for any `mode`."""
        super().train(False)
        return self


def is_frozen(norm: nn.Module) -> bool:
    """Whether `freeze_batch_norm` froze it."""
    return isinstance(norm, _Frozen)


@torch.no_grad()
def fold_batch_norm(module: nn.Module, *, example: Tensor) -> None:
    """Rewrites a module in eval mode without BatchNorm; its outputs stay the same.

    A BatchNorm behind a convolution of the same submodule is folded into the convolution's weights.
    Any other BatchNorm becomes a depthwise convolution, for example one before an attention, whose
    input is also a residual. The activation that timm keeps in a BatchNorm stays.

    Args:
        module: the module, which is changed in place; its parameters may be frozen.
        example: an input of its forward, which is run once to find the order of the layers.
    """
    for path, conv in what_they_follow(module, example=example).items():
        norm = module.get_submodule(path)
        assert isinstance(norm, nn.BatchNorm2d)
        scale, shift = scale_and_shift(norm)
        if conv is None:
            linear: nn.Module = _by_channel(scale, shift)
        else:
            bias = 0 if conv.bias is None else conv.bias
            conv.weight = nn.Parameter(conv.weight * scale.view(-1, 1, 1, 1))
            conv.bias = nn.Parameter(bias * scale + shift)
            linear = nn.Identity()
        activation = getattr(norm, "act", nn.Identity())
        module.set_submodule(path, nn.Sequential(linear, activation))


def scale_and_shift(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """The scale [C] and the shift [C] of a BatchNorm's channels in eval mode."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
    return scale, norm.bias - norm.running_mean * scale


def _batch_norms(module: nn.Module) -> list[nn.BatchNorm2d]:
    return [each for each in module.modules() if isinstance(each, nn.BatchNorm2d)]


def what_they_follow(module: nn.Module, *, example: Tensor) -> dict[str, nn.Conv2d | None]:
    """Path of each BatchNorm that the forward runs -> the convolution to fold it into, or None."""
    paths = {each: path for path, each in module.named_modules()}
    made: dict[int, tuple[Tensor, nn.Module]] = {}
    found: dict[str, nn.Conv2d | None] = {}

    def remember(conv: nn.Module, _: object, output: Tensor) -> None:
        made[id(output)] = output, conv  # keeps the output, so that no other tensor gets its id

    def look_up(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        _, conv = made.get(id(inputs[0]), (None, None))
        found[paths[norm]] = None
        if isinstance(conv, nn.Conv2d) and _owner(paths[conv]) == _owner(paths[norm]):
            found[paths[norm]] = conv

    convolutions = [each for each in module.modules() if isinstance(each, nn.Conv2d)]
    hooks = [each.register_forward_hook(remember) for each in convolutions]
    hooks += [each.register_forward_pre_hook(look_up) for each in _batch_norms(module)]
    module(example)
    for hook in hooks:
        hook.remove()
    return found


def _owner(path: str) -> str:
    return path.rpartition(".")[0]


def _by_channel(scale: Tensor, shift: Tensor) -> nn.Conv2d:
    """A depthwise convolution by scale [C] and shift [C]; no converter makes it a BatchNorm."""
    conv = nn.Conv2d(len(scale), len(scale), kernel_size=1, groups=len(scale))
    conv.weight.copy_(scale.view(-1, 1, 1, 1))
    conv.bias.copy_(shift)  # type: ignore[union-attr]  # it has one
    return conv
