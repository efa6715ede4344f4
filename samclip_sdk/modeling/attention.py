"""SAM's transformer block: windowed or global attention with decomposed relative positions.

Global attention computes its queries in chunks of whole rows. Each query's softmax sees every key,
so the result is exact, while the attention matrix in memory is a fraction of the full one (0.8 GB
a layer for ViT-B at 1024 px).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

MASKED_LOGIT = -1e4
"""Added to the logits of masked keys: finite in fp16, and zero after the softmax."""

_QUERIES_PER_CHUNK = 256


class Block(nn.Module):
    """Pre-norm transformer block; `window_size` 0 means global attention.

    `grid` is the side, in tokens, of the map that the relative position tables are stored for.
    """

    def __init__(
        self, dim: int, *, num_heads: int, mlp_ratio: float, window_size: int, grid: int
    ) -> None:
        super().__init__()
        self.window_size = window_size
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = Attention(dim, num_heads=num_heads, grid=window_size or grid)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = MLPBlock(dim, int(dim * mlp_ratio))

    def forward(self, x: Tensor, key_mask: Tensor | None = None) -> Tensor:
        """Maps tokens [B,H,W,C] to [B,H,W,C].

        `key_mask` float [B,H*W], for global blocks: 0 hides a token from every query.
        """
        h = self.norm1(x)
        if self.window_size:
            height, width = h.shape[1:3]
            windows = self.attn(window_partition(h, self.window_size))
            h = window_unpartition(windows, self.window_size, height=height, width=width)
        else:
            h = self.attn(h, key_mask)
        x = x + h
        y: Tensor = x + self.mlp(self.norm2(x))
        return y


class MLPBlock(nn.Module):
    """Linear, exact GELU, linear."""

    def __init__(self, dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.lin1 = nn.Linear(dim, hidden_dim)
        self.lin2 = nn.Linear(hidden_dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Maps [...,C] to [...,C]."""
        y: Tensor = self.lin2(F.gelu(self.lin1(x)))
        return y


class Attention(nn.Module):
    """Multi-head attention over a square map, with decomposed relative positions."""

    def __init__(self, dim: int, *, num_heads: int, grid: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.scale = (dim // num_heads) ** -0.5
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self.rel_pos_h = nn.Parameter(torch.zeros(2 * grid - 1, dim // num_heads))
        self.rel_pos_w = nn.Parameter(torch.zeros(2 * grid - 1, dim // num_heads))

    def forward(self, x: Tensor, key_mask: Tensor | None = None) -> Tensor:
        """Maps [B,H,W,C] to [B,H,W,C]; `key_mask` float [B,H*W], 0 hides a key."""
        batch, height, width, dim = x.shape
        # Heads are part of the batch: no tensor has more than the five axes that Core ML takes.
        lanes = batch * self.num_heads
        qkv = self.qkv(x).reshape(batch, height * width, 3, self.num_heads, -1)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).reshape(3, lanes, height * width, -1).unbind(0)
        q = q.reshape(lanes, height, width, -1)
        key = (k * self.scale).transpose(-2, -1)
        rel_h = relative_positions(self.rel_pos_h, height).transpose(-2, -1)
        rel_w = relative_positions(self.rel_pos_w, width).transpose(-2, -1)
        bias = None
        if key_mask is not None:
            hidden = ((1 - key_mask) * MASKED_LOGIT)[:, None].expand(-1, self.num_heads, -1)
            bias = hidden.reshape(lanes, 1, 1, height, width)
        rows = max(1, _QUERIES_PER_CHUNK // width)
        chunks = [
            self._attend(q[:, top : top + rows], key, v, rel_h[top : top + rows], rel_w, bias)
            for top in range(0, height, rows)
        ]
        y = torch.cat(chunks, dim=1) if len(chunks) > 1 else chunks[0]
        y = y.reshape(batch, self.num_heads, height, width, -1).permute(0, 2, 3, 1, 4)
        out: Tensor = self.proj(y.reshape(batch, height, width, dim))
        return out

    def _attend(
        self, q: Tensor, key: Tensor, v: Tensor, rel_h: Tensor, rel_w: Tensor, bias: Tensor | None
    ) -> Tensor:
        """Attends queries [N,r,W,c] to all keys [N,c,H*W]; returns [N,r,W,c]."""
        heads, rows, width, channels = q.shape
        height = key.shape[-1] // width
        by_row = (q @ rel_h).unsqueeze(-1)
        by_column = (q.transpose(1, 2) @ rel_w).transpose(1, 2).unsqueeze(-2)
        logits = (q.reshape(heads, rows * width, channels) @ key).reshape(
            heads, rows, width, height, width
        )
        logits = logits + by_row + by_column
        if bias is not None:
            logits = logits + bias
        weights = logits.reshape(heads, rows * width, height * width).softmax(dim=-1)
        return (weights @ v).reshape(heads, rows, width, channels)


def relative_positions(table: Tensor, grid: int) -> Tensor:
    """Relative position embeddings [grid,grid,c] of every (query, key) pair along one axis.

    `table` [L,c] is interpolated where it was stored for another grid, as SAM does.
    """
    index = torch.arange(grid, device=table.device)
    return relative_table(table, grid)[index[:, None] - index[None, :] + grid - 1]


def relative_table(table: Tensor, grid: int) -> Tensor:
    """The table [2*grid-1,c] for a map of `grid` tokens: linear where its length differs."""
    rows = 2 * grid - 1
    if table.shape[0] == rows:
        return table
    return F.interpolate(table.T[None], size=rows, mode="linear")[0].T


def window_partition(x: Tensor, size: int) -> Tensor:
    """Cuts [B,H,W,C] into windows [B*n,size,size,C], zero-padded at the right and bottom."""
    batch, height, width, dim = x.shape
    down, right = -height % size, -width % size
    if down or right:
        x = F.pad(x, (0, 0, 0, right, 0, down))
    rows, columns = (height + down) // size, (width + right) // size
    x = x.reshape(batch, rows, size, columns, size, dim)
    return x.permute(0, 1, 3, 2, 4, 5).reshape(-1, size, size, dim)


def window_unpartition(windows: Tensor, size: int, *, height: int, width: int) -> Tensor:
    """Puts windows [B*n,size,size,C] back into [B,H,W,C], dropping the padding."""
    rows, columns = -(-height // size), -(-width // size)
    x = windows.reshape(-1, rows, columns, size, size, windows.shape[-1])
    x = x.permute(0, 1, 3, 2, 4, 5).reshape(-1, rows * size, columns * size, windows.shape[-1])
    return x[:, :height, :width]
