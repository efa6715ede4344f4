"""Convolutions of a training step on a CPU: the outputs and the gradients are torch's."""

from __future__ import annotations

import copy

import pytest
import timm
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from samclip_sdk.modeling.batch_norm import freeze_batch_norm
from training.loop.cpu_convolution import Convolution, join_frozen_norms, speed_up_convolutions
from training.loop.train import Autocast

needs_bf16 = pytest.mark.skipif(
    not torch.ops.mkldnn._is_mkldnn_bf16_supported(), reason="this CPU has no bf16"
)


@pytest.mark.parametrize("bounded", [False, True])
@pytest.mark.parametrize(
    ("channels", "groups", "side", "stride"),
    [
        (6, 1, 1, 1),
        (6, 1, 3, 2),
        (8, 8, 3, 1),
        (8, 8, 5, 1),
        (8, 8, 7, 1),
        (8, 8, 3, 2),
        (8, 8, 6, 2),
    ],
)
def test_outputs_and_gradients_are_those_of_torch(
    channels: int, groups: int, side: int, stride: int, bounded: bool
) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, channels, 12, 12, requires_grad=True)
    weight = torch.randn(8, channels // groups, side, side, requires_grad=True)
    bias = torch.randn(8, requires_grad=True)
    theirs = F.conv2d(x, weight, bias, stride, side // 2, groups=groups)
    theirs = F.relu6(theirs) if bounded else theirs
    ours = Convolution.apply(  # type: ignore[no-untyped-call]  # torch's
        x, weight, bias, stride, side // 2, groups, bounded
    )
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    asked = torch.randn_like(theirs)
    found, expected = (torch.autograd.grad(y, (x, weight, bias), asked) for y in (ours, theirs))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.fixture
def network() -> nn.Module:
    """A network as samclip-mobile's backbone, with other numbers in its BatchNorms."""
    torch.manual_seed(0)
    made: nn.Module = timm.create_model("tf_efficientnet_lite0", features_only=True)
    for each in made.modules():
        if isinstance(each, nn.BatchNorm2d):
            each.weight.data.uniform_(0.5, 1.5)
            each.bias.data.normal_(std=0.5)
            assert each.running_mean is not None
            assert each.running_var is not None
            each.running_mean.normal_(std=0.1)
            each.running_var.uniform_(0.5, 2)
    freeze_batch_norm(made)
    return made


def gradient(network: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """The last features, and the gradient of all weights."""
    features = network(x)[-1]
    weights = torch.randn(features.shape, generator=torch.Generator().manual_seed(1))
    found = torch.autograd.grad((features.float() * weights).mean(), list(network.parameters()))
    return features.detach().float(), torch.cat([each.flatten() for each in found])


@needs_bf16
def test_a_network_whose_norms_are_joined_is_as_near_to_fp32(network: nn.Module) -> None:
    x = torch.randn(2, 3, 64, 64)
    exact = gradient(network, x)
    joined = copy.deepcopy(network)
    join_frozen_norms(joined, example=x[:1])
    norms = [each for each in joined.modules() if isinstance(each, nn.BatchNorm2d)]
    assert all("forward" in vars(each) for each in norms)
    assert all(torch.equal(a, b) for a, b in zip(gradient(joined, x), exact, strict=True))
    with torch.autocast("cpu", torch.bfloat16):
        plain, fast = gradient(network, x), gradient(joined, x)
    for ours, theirs, true in zip(fast, plain, exact, strict=True):
        assert (ours - true).norm() < 1.2 * (theirs - true).norm()
        assert F.cosine_similarity(ours.flatten(), true.flatten(), dim=0) > 0.9


def test_a_copy_computes_with_its_own_weights(network: nn.Module) -> None:
    """An average of the weights is a copy of what was sped up."""
    join_frozen_norms(network, example=torch.zeros(1, 3, 64, 64))
    speed_up_convolutions(network)
    other = copy.deepcopy(network)
    for parameter in other.parameters():
        parameter.data.zero_()
    x = torch.randn(1, 3, 64, 64)
    assert network(x)[0].any()
    for enabled in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled), torch.no_grad():
            flat = other(x)[0]
        assert torch.equal(flat, flat[..., :1, :1].expand_as(flat))


@needs_bf16
def test_depthwise_convolutions_are_fast_on_a_cpu_alone() -> None:
    """On other devices, the plain ones."""
    for device, changed in (("cpu", {"0"}), ("cuda", set())):
        layers = nn.Sequential(nn.Conv2d(4, 4, 3, groups=4), nn.Conv2d(4, 4, 3))
        Autocast(device).convert_module(layers)
        assert {
            name for name, each in layers.named_children() if "forward" in vars(each)
        } == changed
        x = torch.randn(1, 4, 6, 6, requires_grad=True)
        with torch.autocast("cpu", torch.bfloat16):
            layers(x).sum().backward()
        assert all(each.grad is not None for each in (x, *layers.parameters()))
