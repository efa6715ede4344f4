from __future__ import annotations

import torch

from samclip_sdk.modeling.tiny_vit_encoder import WindowAttention


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
