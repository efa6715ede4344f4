from __future__ import annotations

import pytest
import torch
from torch import Tensor

from samclip_sdk.modeling.config import TinyViTConfig
from samclip_sdk.modeling.tiny_vit_encoder import TinyViTEncoder, WindowAttention
from tests.batch_norms import batch_norms, draw_batch_norms

CONFIG = TinyViTConfig(
    image_size_px=64,
    embed_dims=(8, 16, 24, 32),
    depths=(1, 2, 1, 1),
    stage_heads=(1, 2, 2, 4),
    window_sizes=(3, 3, 5, 3),
)


@pytest.fixture
def encoder() -> TinyViTEncoder:
    """Every parameter and statistic shows."""
    torch.manual_seed(0)
    encoder = TinyViTEncoder(CONFIG, out_chans=16).eval()
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    draw_batch_norms(encoder, seed=1)
    return encoder


def image(side: int, *, batch: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randint(0, 256, (batch, 3, side, side), generator=generator, dtype=torch.uint8)


@pytest.mark.parametrize("side", [16, 48, 64, 112])
def test_any_multiple_of_16_runs(encoder: TinyViTEncoder, side: int) -> None:
    tokens, embeddings = encoder(image(side, batch=2))
    assert tokens.shape == (2, 32, side // 16, side // 16)
    assert embeddings.shape == (2, 16, side // 16, side // 16)
    assert torch.equal(encoder.neck(tokens), embeddings)


def test_folding_keeps_the_answer(encoder: TinyViTEncoder) -> None:
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    folded = encoder.at_resolution(64)
    assert batch_norms(encoder)
    assert not batch_norms(folded)
    with torch.inference_mode():
        for actual, expected in zip(folded(image(64)), encoder(image(64)), strict=True):
            torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-4)
    after = encoder.state_dict()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())


def test_training_changes_no_batch_norm(encoder: TinyViTEncoder) -> None:
    encoder.requires_grad_(True).train()
    before = {
        name: tensor.clone() for name, tensor in encoder.state_dict().items() if ".bn." in name
    }
    optimizer = torch.optim.SGD(encoder.parameters(), lr=0.1)
    encoder(image(64))[1].square().mean().backward()
    optimizer.step()
    after = encoder.state_dict()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())
    assert not any(name in dict(encoder.named_parameters()) for name in before)


def test_checkpointing_changes_no_gradient(encoder: TinyViTEncoder) -> None:
    gradients = []
    for enable in (False, True):
        encoder.zero_grad()
        encoder.set_grad_checkpointing(enable)
        encoder(image(32))[1].square().mean().backward()
        gradients.append([each.grad.clone() for each in encoder.parameters()])
    for plain, again in zip(*gradients, strict=True):
        torch.testing.assert_close(again, plain, rtol=1e-5, atol=1e-6)


def test_a_bias_belongs_to_a_distance() -> None:
    """Of a window of 2: to itself, to its neighbour across, down, and both."""
    attention = WindowAttention(8, num_heads=1, window_size=2)
    assert attention.bias_index.tolist() == [[0, 1, 2, 3], [1, 0, 3, 2], [2, 3, 0, 1], [3, 2, 1, 0]]


def test_windows_are_padded_with_zeros_before_the_norm() -> None:
    """As MobileSAM does: the same answer as for a map that is padded by hand."""
    torch.manual_seed(0)
    attention = WindowAttention(8, num_heads=2, window_size=3).eval()
    attention.norm.bias.data.normal_()
    x = torch.randn(1, 4, 4, 8)
    padded = torch.zeros(1, 6, 6, 8)
    padded[:, :4, :4] = x
    with torch.inference_mode():
        # 6 x 6 tokens are whole windows, and nothing is filled up.
        torch.testing.assert_close(attention(x), attention(padded)[:, :4, :4])


def test_stages_need_whole_heads() -> None:
    with pytest.raises(ValueError, match="embed_dims has 160, no multiple of its 6 heads"):
        TinyViTConfig(stage_heads=(2, 4, 6, 10))
