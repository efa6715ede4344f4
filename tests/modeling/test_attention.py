from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from samclip_sdk.modeling import attention
from samclip_sdk.modeling.attention import (
    Attention,
)


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
@pytest.mark.parametrize(
    ("window", "side", "masked"),
    [(0, 9, False), (0, 7, True), (0, 20, True), (4, 8, False), (4, 9, False)],
)
def test_the_kernel_of_training_computes_what_chunks_do(
    monkeypatch: pytest.MonkeyPatch, device: str, window: int, side: int, masked: bool
) -> None:
    """Values and every gradient, those of the positions too; 400 queries are two chunks."""
    monkeypatch.setattr(attention, "is_quicker_fused", lambda x: True)
    calls = counted(monkeypatch)
    torch.manual_seed(1)
    layer = Attention(24, num_heads=3, window_size=window, grid=9)
    for table in (layer.rel_pos_h, layer.rel_pos_w):
        nn.init.normal_(table)
    layer.to(device)
    x = torch.randn(2, side * side, 24).to(device)
    key_mask = (torch.rand(2, side * side) > 0.3).float().to(device) if masked else None
    in_use = _answer(layer.eval(), x, key_mask)
    assert calls == []
    in_training = _answer(layer.train(), x, key_mask)
    assert len(calls) == 1
    assert in_use.keys() == in_training.keys() == {"y", "x", *dict(layer.named_parameters())}
    for name, expected in in_use.items():
        error = (in_training[name] - expected).abs().max() / expected.abs().max()
        assert error < 3e-6, name


def test_on_a_cpu_chunks_are_quicker(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = counted(monkeypatch)
    Attention(24, num_heads=3, window_size=0, grid=9).train()(torch.randn(2, 81, 24))
    assert calls == []


def counted(monkeypatch: pytest.MonkeyPatch) -> list[torch.Size]:
    """The shapes of the queries that torch's kernel is given."""

    def note(q: Tensor, *others: Tensor, **options: Any) -> Tensor:
        calls.append(q.shape)
        return kernel(q, *others, **options)

    calls: list[torch.Size] = []
    kernel = F.scaled_dot_product_attention
    monkeypatch.setattr(F, "scaled_dot_product_attention", note)
    return calls


def _answer(layer: Attention, x: Tensor, key_mask: Tensor | None) -> dict[str, Tensor]:
    """What comes out, and the gradients of a loss of it, by name."""
    layer.zero_grad()
    x = x.clone().requires_grad_()
    y = layer(x, key_mask)
    weights = torch.randn(y.shape, generator=torch.Generator().manual_seed(2))
    (y * weights).sum().backward()
    gradients = {name: each.grad for name, each in layer.named_parameters()} | {"x": x.grad}
    return {"y": y.detach()} | {name: each for name, each in gradients.items() if each is not None}
