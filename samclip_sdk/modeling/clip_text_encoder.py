"""CLIP's text encoder: the teacher's own encoder, frozen (paper section 3.1)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from samclip_sdk.modeling.attention import MASKED_LOGIT
from samclip_sdk.modeling.config import ClipTextConfig


class ClipTextEncoder(nn.Module):
    """Maps token ids to unit embeddings in CLIP's joint space."""

    def __init__(self, config: ClipTextConfig, *, embed_dim: int) -> None:
        super().__init__()
        width = config.width
        self.eot_id = config.vocab_size - 1
        self.token_embedding = nn.Embedding(config.vocab_size, config.embedding_width)
        self.token_projection = (
            nn.Identity()
            if config.embedding_width == width
            else nn.Linear(config.embedding_width, width, bias=False)
        )
        self.positional_embedding = nn.Parameter(torch.zeros(config.context_length, width))
        self.blocks = nn.ModuleList(
            TextBlock(width, num_heads=config.num_heads, activation=config.activation)
            for _ in range(config.depth)
        )
        self.ln_final = nn.LayerNorm(width)
        self.text_projection = nn.Parameter(torch.zeros(width, embed_dim))

    def forward(self, input_ids: Tensor) -> Tensor:
        """Embeds K texts.

        Args:
            input_ids: int [K,L], L up to the context length; the embedding is taken at the
                end-of-text token, and later tokens have no influence.

        Returns:
            text_embeddings [K,E], L2-normalised.
        """
        length = input_ids.shape[1]
        tokens_klw = self.token_projection(self.token_embedding(input_ids))
        tokens_klw = tokens_klw + self.positional_embedding[:length]
        bias = torch.full(
            (length, length), MASKED_LOGIT, dtype=tokens_klw.dtype, device=tokens_klw.device
        ).triu(1)
        for block in self.blocks:
            tokens_klw = block(tokens_klw, bias)
        # A product with a one-hot row instead of a gather, because every runtime supports it.
        end = (input_ids == self.eot_id).float().argmax(dim=1, keepdim=True)
        is_end = (torch.arange(length, device=tokens_klw.device) == end).to(tokens_klw.dtype)
        pooled = (is_end.unsqueeze(1) @ self.ln_final(tokens_klw)).squeeze(1)
        return F.normalize((pooled @ self.text_projection).float(), dim=-1, eps=1e-6)


class TextBlock(nn.Module):
    """CLIP's pre-norm residual attention block."""

    def __init__(self, width: int, *, num_heads: int, activation: str) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.scale = (width // num_heads) ** -0.5
        self.quick_gelu = activation == "quick_gelu"
        self.ln_1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out_proj = nn.Linear(width, width)
        self.ln_2 = nn.LayerNorm(width)
        self.c_fc = nn.Linear(width, 4 * width)
        self.c_proj = nn.Linear(4 * width, width)

    def forward(self, tokens_klw: Tensor, bias: Tensor) -> Tensor:
        """Maps [K,L,W] to [K,L,W]; `bias` [L,L] holds the causal mask."""
        tokens_klw = tokens_klw + self._attend(self.ln_1(tokens_klw), bias)
        hidden = self.c_fc(self.ln_2(tokens_klw))
        hidden = hidden * torch.sigmoid(1.702 * hidden) if self.quick_gelu else F.gelu(hidden)
        y: Tensor = tokens_klw + self.c_proj(hidden)
        return y

    def _attend(self, tokens_klw: Tensor, bias: Tensor) -> Tensor:
        qkv = self.qkv(tokens_klw).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.unbind(0)
        weights = ((q * self.scale) @ k.transpose(-2, -1) + bias).softmax(dim=-1)
        y: Tensor = self.out_proj((weights @ v).transpose(1, 2).flatten(2))
        return y
