from __future__ import annotations

import pytest
import torch

from samclip_sdk.modeling import attention
from samclip_sdk.modeling.attention import (
    Attention,
    Block,
    relative_positions,
    window_partition,
    window_unpartition,
)


@pytest.fixture
def layer() -> Attention:
    torch.manual_seed(0)
    layer = Attention(24, num_heads=3, window_size=0, grid=9).requires_grad_(False)
    layer.rel_pos_h.normal_()
    layer.rel_pos_w.normal_()
    return layer


@pytest.mark.parametrize("queries", [1, 9, 20, 40])
@pytest.mark.parametrize("grid", [9, 7])
def test_chunks_change_nothing(
    layer: Attention, monkeypatch: pytest.MonkeyPatch, queries: int, grid: int
) -> None:
    x = torch.randn(2, grid * grid, 24)
    key_mask = (torch.rand(2, grid * grid) > 0.3).float()
    monkeypatch.setattr(attention, "_QUERIES_PER_CHUNK", grid * grid)
    whole, masked = layer(x), layer(x, key_mask)
    monkeypatch.setattr(attention, "_QUERIES_PER_CHUNK", queries)
    torch.testing.assert_close(layer(x), whole, rtol=0, atol=1e-6)
    torch.testing.assert_close(layer(x, key_mask), masked, rtol=0, atol=1e-6)


def test_a_masked_key_has_no_influence(layer: Attention) -> None:
    x = torch.randn(1, 81, 24)
    key_mask = torch.ones(1, 81)
    key_mask[:, 54:] = 0
    other = x.clone()
    other[:, 54:] = 30 * torch.randn(27, 24)
    before, after = (layer(each, key_mask) for each in (x, other))
    assert torch.equal(before[:, :54], after[:, :54])


def test_relative_positions_are_query_minus_key() -> None:
    table = torch.arange(7.0)[:, None]  # for a grid of 4: distances -3..3
    assert relative_positions(table, 4)[..., 0].tolist() == [
        [3, 2, 1, 0],
        [4, 3, 2, 1],
        [5, 4, 3, 2],
        [6, 5, 4, 3],
    ]


@pytest.mark.parametrize(("side", "size"), [(6, 3), (7, 3), (8, 4), (2, 3)])
def test_windows_and_back(side: int, size: int) -> None:
    x, fill = torch.randn(2, side, side, 5), torch.randn(5)
    windows = window_partition(x, size, fill=fill)
    assert windows.shape[1:] == (size, size, 5)
    assert torch.equal(windows[0, :side, :side], x[0, :size, :size])
    padded = (-(-side // size) * size) ** 2 - side**2
    assert (windows == fill).all(dim=-1).sum() == 2 * padded
    assert torch.equal(window_unpartition(windows, size, side=side), x)


def test_a_windowed_block_sees_its_window_only() -> None:
    torch.manual_seed(0)
    block = Block(24, num_heads=3, mlp_ratio=2.0, window_size=4, grid=8).requires_grad_(False)
    x = torch.randn(1, 8, 8, 24)
    other = x.clone()
    other[:, :4, 4:] += 1
    before, after = (block(each.flatten(1, 2)).unflatten(1, (8, 8)) for each in (x, other))
    changed = (before != after).any(dim=-1)[0]
    assert changed[:4, 4:].all()
    assert changed.sum() == 16
