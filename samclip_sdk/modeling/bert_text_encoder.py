"""A small BERT as text encoder: MiniLM's architecture, and an MLP into the joint space.

It has the contract of CLIP's text encoder: token ids to unit embeddings. Like its teacher, it is a
sentence encoder with a map behind it: the mean of the tokens, centred, goes through the same MLP.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from samclip_sdk.modeling.attention import MASKED_LOGIT
from samclip_sdk.modeling.config import BertTextConfig

PADDING = 0
_LAYER_NORM_EPS = 1e-12  # BERT's own


class BertTextEncoder(nn.Module):
    """Maps token ids to unit embeddings in the joint space."""

    sentence_mean: Tensor

    def __init__(self, config: BertTextConfig, *, embed_dim: int) -> None:
        super().__init__()
        width = config.width
        self.token_embedding = nn.Embedding(config.vocab_size, config.embedding_width)
        self.token_projection = (
            nn.Identity()
            if config.embedding_width == width
            else nn.Linear(config.embedding_width, width, bias=False)
        )
        # It includes BERT's token type embedding, because every token has the first type.
        self.positional_embedding = nn.Parameter(torch.zeros(config.context_length, width))
        self.ln_embedding = nn.LayerNorm(width, eps=_LAYER_NORM_EPS)
        self.blocks = nn.ModuleList(
            BertBlock(width, num_heads=config.num_heads, mlp_dim=config.mlp_dim)
            for _ in range(config.depth)
        )
        self.register_buffer("sentence_mean", torch.zeros(width))
        self.mlp = nn.Sequential(
            nn.Linear(width, config.hidden_dim),
            nn.GELU(),
            nn.Linear(config.hidden_dim, embed_dim),
        )

    def forward(self, input_ids: Tensor) -> Tensor:
        """Embeds K texts.

        Args:
            input_ids: int [K,L], L up to the context length; zeros behind the text are padding and
                have no influence.

        Returns:
            text_embeddings [K,E], L2-normalised.
        """
        return self.project(self.sentences(input_ids))

    def sentences(self, input_ids: Tensor) -> Tensor:
        """The mean over each text's tokens as a unit vector [K,W]."""
        x = self.token_projection(self.token_embedding(input_ids))
        x = self.ln_embedding(x + self.positional_embedding[: input_ids.shape[1]])
        is_text = (input_ids != PADDING).to(x.dtype)
        bias = ((1 - is_text) * MASKED_LOGIT).unsqueeze(1)
        for block in self.blocks:
            x = block(x, bias.unsqueeze(1))
        mean = (bias.softmax(dim=-1) @ x).squeeze(1)  # equal weights for the text, 0 for padding
        return F.normalize(mean, dim=-1, eps=1e-6)

    def project(self, sentences: Tensor) -> Tensor:
        """Maps the outputs of `sentences` [K,W] to unit vectors [K,E] of the joint space."""
        centred = F.normalize(sentences - self.sentence_mean, dim=-1, eps=1e-6)
        return F.normalize(self.mlp(centred).float(), dim=-1, eps=1e-6)


class BertBlock(nn.Module):
    """BERT's post-norm residual attention block: the sums are normalised, not the inputs."""

    def __init__(self, width: int, *, num_heads: int, mlp_dim: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.scale = (width // num_heads) ** -0.5
        self.qkv = nn.Linear(width, 3 * width)
        self.out_proj = nn.Linear(width, width)
        self.ln_1 = nn.LayerNorm(width, eps=_LAYER_NORM_EPS)
        self.fc = nn.Linear(width, mlp_dim)
        self.proj = nn.Linear(mlp_dim, width)
        self.ln_2 = nn.LayerNorm(width, eps=_LAYER_NORM_EPS)

    def forward(self, tokens_klw: Tensor, bias: Tensor) -> Tensor:
        """Maps [K,L,W] to [K,L,W]; `bias` [K,1,1,L] masks the padding."""
        tokens_klw = self.ln_1(tokens_klw + self._attend(tokens_klw, bias))
        y: Tensor = self.ln_2(tokens_klw + self.proj(F.gelu(self.fc(tokens_klw))))
        return y

    def _attend(self, tokens_klw: Tensor, bias: Tensor) -> Tensor:
        # One after the other: the GPUs of phones take no tensor of five axes.
        parts = self.qkv(tokens_klw).chunk(3, dim=-1)
        q, k, v = (each.unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for each in parts)
        weights = ((q * self.scale) @ k.transpose(-2, -1) + bias).softmax(dim=-1)
        y: Tensor = self.out_proj((weights @ v).transpose(1, 2).flatten(2))
        return y
