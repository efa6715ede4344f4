"""What every encoder with BatchNorms does: they fold away at export and stay still in training."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from samclip_sdk.modeling.config import PyramidConfig
from samclip_sdk.modeling.pyramid_encoder import PyramidEncoder
from samclip_sdk.modeling.tiny_vit_encoder import TinyViTEncoder
from tests.batch_norms import batch_norms, draw_batch_norms
from tests.tiny_config import SMALL_TINY_VIT

WIDTHS = {
    "test_efficientnet": (32, 48, 64),  # timm's own smallest
    "test_resnet": (48, 192, 96),
    "tf_efficientnet_lite2": (48, 120, 352),
    "repvit_m1_1": (128, 256, 512),
    "fastvit_mci0": (128, 256, 512),  # has a BatchNorm before an attention
}
Encoder = PyramidEncoder | TinyViTEncoder


def new_encoder(kind: str, *, seed: int = 0) -> Encoder:
    """An encoder whose every parameter and statistic shows."""
    torch.manual_seed(seed)
    encoder: Encoder
    if kind == "tiny_vit":
        encoder = TinyViTEncoder(SMALL_TINY_VIT, out_chans=16).eval()
        with torch.no_grad():
            for parameter in encoder.parameters():
                parameter.add_(0.1 * torch.randn(parameter.shape))
    else:
        config = PyramidConfig(image_size_px=64, backbone=kind, widths=WIDTHS[kind], embed_dim=32)
        encoder = PyramidEncoder(config, out_chans=16).eval()
    draw_batch_norms(encoder, seed=seed)
    return encoder


def image(side: int, width: int | None = None, *, batch: int = 1) -> Tensor:
    size = (batch, 3, side, width or side)
    generator = torch.Generator().manual_seed(3)
    return torch.randint(0, 256, size, generator=generator, dtype=torch.uint8)


kinds = pytest.mark.parametrize("kind", ["test_efficientnet", "tiny_vit"])


@kinds
@pytest.mark.parametrize("side", [32, 64, 96, 288])
def test_any_multiple_of_32_runs(kind: str, side: int) -> None:
    encoder, channels = new_encoder(kind), 144 if kind == "test_efficientnet" else 32
    tokens, embeddings = encoder(image(side, batch=2))
    assert tokens.shape == (2, channels, side // 16, side // 16)
    assert embeddings.shape == (2, 16, side // 16, side // 16)
    same = encoder(image(side, batch=2).float())
    assert torch.equal(same[0], tokens)
    assert torch.equal(same[1], embeddings)


@pytest.mark.parametrize(
    "kind",
    ["tiny_vit", *WIDTHS][:3]
    + [pytest.param(each, marks=pytest.mark.slow) for each in [*WIDTHS][2:]],
)
def test_folding_keeps_the_answer_and_the_encoder(kind: str) -> None:
    encoder = new_encoder(kind)
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    folded = encoder.at_resolution(96)
    assert batch_norms(encoder)
    assert not batch_norms(folded)
    with torch.inference_mode():
        for x in (image(96),) if kind == "tiny_vit" else (image(96), image(64, 96)):
            for actual, expected in zip(folded(x), encoder(x), strict=True):
                assert (actual - expected).abs().max() < 1e-4 * expected.abs().max()
    after = encoder.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())


@pytest.mark.parametrize(
    ("kind", "inner"),
    [
        *(("test_efficientnet", f"backbone{each}") for each in ("", ".blocks", ".blocks.2")),
        *(("test_efficientnet", ""), ("tiny_vit", "")),
    ],
)
def test_training_changes_no_batch_norm(kind: str, inner: str) -> None:
    """Whoever calls `train`: a stage's multipliers name modules of the backbone."""
    encoder = new_encoder(kind).requires_grad_(True)
    encoder.get_submodule(inner).train()
    assert not any(norm.training for norm in batch_norms(encoder))
    before = {name: each.clone() for name, each in encoder.named_buffers()}
    weights = [each.detach().clone() for each in encoder.parameters()]
    assert any(name.endswith("bn1.weight") or ".bn.weight" in name for name in before)
    optimizer = torch.optim.SGD(encoder.parameters(), lr=0.1)
    tokens, embeddings = encoder(image(64, batch=2))
    (tokens.square().mean() + embeddings.mean()).backward()
    optimizer.step()
    after = dict(encoder.named_buffers())
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())
    assert not torch.equal(next(encoder.parameters()), weights[0])


@kinds
def test_checkpointing_changes_no_gradient(kind: str) -> None:
    gradients = []
    for enable in (False, True):
        encoder = new_encoder(kind).train()
        encoder.set_grad_checkpointing(enable)
        encoder(image(64))[1].square().mean().backward()
        gradients.append([each.grad for each in encoder.parameters()])
    for plain, again in zip(*gradients, strict=True):
        assert (plain is None) == (again is None)
        if isinstance(plain, Tensor):
            torch.testing.assert_close(again, plain, rtol=1e-5, atol=1e-6)
