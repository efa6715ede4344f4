"""SAM's transformer block: windowed or global attention with decomposed relative positions.

In inference and in exported graphs, queries are computed in chunks. Each query's softmax sees every
key, so the result is exact. The attention matrix in memory is a fraction of the full one (0.8 GB a
layer for ViT-B at 1024 px). In training on a GPU, torch's fused kernel computes the same, with the
relative positions as its mask.

Tokens [B,N,C] are the cells of a square map, row by row. Runtimes keep tensors with three axes in
one layout, but transpose tensors with four.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

MASKED_LOGIT = -1e4
"""It is added to the logits of masked keys: finite in fp16, and zero after the softmax."""

_QUERIES_PER_CHUNK = 256


class Block(nn.Module):
    """Pre-norm transformer block; `window_size` 0 means global attention.

    `grid` is the side, in tokens, of the map that the relative position tables are stored for.
    """

    def __init__(
        self, dim: int, *, num_heads: int, mlp_ratio: float, window_size: int, grid: int
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = Attention(dim, num_heads=num_heads, window_size=window_size, grid=grid)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = MLPBlock(dim, int(dim * mlp_ratio))

    def forward(self, tokens_bnc: Tensor, key_mask_bn: Tensor | None = None) -> Tensor:
        """Maps tokens [B,N,C] to [B,N,C].

        `key_mask_bn` float [B,N], for global blocks: 0 hides a token from every query.
        """
        tokens_bnc = tokens_bnc + self.attn(self.norm1(tokens_bnc), key_mask_bn)
        y: Tensor = tokens_bnc + self.mlp(self.norm2(tokens_bnc))
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
    """Multi-head attention over a square map or its windows, with decomposed relative positions.

    SAM pads the map with zeros to whole windows before the projection. A padded token's query, key
    and value are then the projection's bias, and its output is not used. So only the map's own
    tokens are projected here, before and after the attention.
    """

    def __init__(self, dim: int, *, num_heads: int, window_size: int, grid: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.window_size = window_size
        self.scale = (dim // num_heads) ** -0.5
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        rows = 2 * (window_size or grid) - 1
        self.rel_pos_h = nn.Parameter(torch.zeros(rows, dim // num_heads))
        self.rel_pos_w = nn.Parameter(torch.zeros(rows, dim // num_heads))

    def forward(self, tokens_bnc: Tensor, key_mask_bn: Tensor | None = None) -> Tensor:
        """Maps [B,N,C] to [B,N,C]; `key_mask_bn` float [B,N], without windows: 0 hides a key."""
        side = math.isqrt(tokens_bnc.shape[1])
        qkv = self.qkv(tokens_bnc).unflatten(1, (side, side))
        if self.window_size:
            windows = window_partition(qkv, self.window_size, fill=self.qkv.bias)
            y = window_unpartition(self._attend(windows), self.window_size, side=side)
        else:
            y = self._attend(qkv, key_mask_bn)
        out: Tensor = self.proj(y.flatten(1, 2))
        return out

    def _attend(self, qkv: Tensor, key_mask: Tensor | None = None) -> Tensor:
        """Attends in each square map: queries, keys and values [B,s,s,3*C] to [B,s,s,C]."""
        batch, side = qkv.shape[:2]
        # Heads are a part of the batch, because Core ML takes tensors of at most five axes.
        lanes, tokens = batch * self.num_heads, side**2
        qkv = qkv.reshape(batch, tokens, 3, self.num_heads, -1)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).reshape(3, lanes, tokens, -1).unbind(0)
        grid = q.reshape(lanes, side, side, -1)
        rel_h = relative_positions(self.rel_pos_h, side).transpose(-2, -1)
        rel_w = relative_positions(self.rel_pos_w, side).transpose(-2, -1)
        by_row = (grid @ rel_h).reshape(lanes, tokens, side, 1)
        by_column = (grid.transpose(1, 2) @ rel_w).transpose(1, 2).reshape(lanes, tokens, 1, side)
        hidden = None
        if key_mask is not None:
            hidden = ((1 - key_mask) * MASKED_LOGIT)[:, None].expand(-1, self.num_heads, -1)
            hidden = hidden.reshape(lanes, 1, side, side)
        if self.training and is_quicker_fused(qkv):
            y = self._fused(q, k, v, by_row, by_column, hidden)
        else:
            y = self._in_chunks(q, k, v, by_row, by_column, hidden)
        y = y.reshape(batch, self.num_heads, side, side, -1)
        return y.permute(0, 2, 3, 1, 4).flatten(3)

    def _in_chunks(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        by_row: Tensor,
        by_column: Tensor,
        hidden: Tensor | None,
    ) -> Tensor:
        """Attends with a chunk of the queries [L,n,c] at a time.

        The logits by row [L,n,s,1], by column [L,n,1,s] and of hidden keys [L,1,s,s] are added to
        the queries' logits.
        """
        side, tokens = by_row.shape[2], q.shape[1]
        key = (k * self.scale).transpose(-2, -1)
        chunks = []
        size = min(_QUERIES_PER_CHUNK, tokens)  # coremltools cannot split into less than one
        parts = (torch.split(each, size, dim=1) for each in (q, by_row, by_column))
        for queries, rows, columns in zip(*parts, strict=True):
            logits = (queries @ key).unflatten(-1, (side, side)) + rows + columns
            if hidden is not None:
                logits = logits + hidden
            chunks.append(logits.flatten(-2).softmax(dim=-1) @ v)
        return torch.cat(chunks, dim=1) if len(chunks) > 1 else chunks[0]

    def _fused(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        by_row: Tensor,
        by_column: Tensor,
        hidden: Tensor | None,
    ) -> Tensor:
        """Attends with all queries at once, in torch's fused kernel; see `_in_chunks`."""
        logits = by_row + by_column
        if hidden is not None:
            logits = logits + hidden
        mask = logits.flatten(-2).to(q.dtype)
        q, k, v, mask = (x.reshape(-1, self.num_heads, *x.shape[1:]) for x in (q, k, v, mask))
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=self.scale)
        return y.flatten(0, 1)


def is_quicker_fused(x: Tensor) -> bool:
    """Whether torch's fused kernel is quicker than chunks on `x`'s device, forward and backward.

    A CPU has no fused kernel for a mask with a gradient: a layer of ViT-B took 1.3 times as long in
    fp32 and twice as long in bf16. A GPU has one; its speed was not measured.
    """
    return x.is_cuda


def relative_positions(table: Tensor, grid: int) -> Tensor:
    """Relative position embeddings [grid,grid,c] of every (query, key) pair along one axis.

    `table` [L,c] is interpolated, as in SAM, if it was stored for another grid.
    """
    index = torch.arange(grid, device=table.device)
    return relative_table(table, grid)[index[:, None] - index[None, :] + grid - 1]


def relative_table(table: Tensor, grid: int) -> Tensor:
    """The table [2*grid-1,c] for a map of `grid` tokens, interpolated linearly if needed."""
    rows = 2 * grid - 1
    if table.shape[0] == rows:
        return table
    return F.interpolate(table.T[None], size=rows, mode="linear")[0].T


def bake_relative_positions(block: nn.Module, grid: int) -> None:
    """Replaces a global block's tables by tables for a map of `grid` x `grid` tokens."""
    attention = block.attn
    assert isinstance(attention, Attention)
    if attention.window_size:
        return
    for name in ("rel_pos_h", "rel_pos_w"):
        table = relative_table(getattr(attention, name), grid)
        setattr(attention, name, nn.Parameter(table.detach()))


def window_partition(x: Tensor, size: int, *, fill: Tensor) -> Tensor:
    """Cuts [B,s,s,C] into windows [B*n,size,size,C]; `fill` [C] pads them right and below."""
    batch, side, _, dim = x.shape
    count = -(-side // size)
    margin = count * size - side
    if margin:
        fill = fill.to(x.dtype)
        x = torch.cat([x, fill.expand(batch, side, margin, dim)], dim=2)
        x = torch.cat([x, fill.expand(batch, margin, side + margin, dim)], dim=1)
    x = x.reshape(batch, count, size, count, size, dim)
    return x.permute(0, 1, 3, 2, 4, 5).reshape(-1, size, size, dim)


def window_unpartition(windows: Tensor, size: int, *, side: int) -> Tensor:
    """Puts windows [B*n,size,size,C] back into [B,side,side,C], dropping the padding."""
    count = -(-side // size)
    x = windows.reshape(-1, count, count, size, size, windows.shape[-1])
    x = x.permute(0, 1, 3, 2, 4, 5).reshape(-1, count * size, count * size, windows.shape[-1])
    return x[:, :side, :side]
