"""SAM's two-way transformer: prompt tokens and image tokens attend to each other."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from samclip_sdk.modeling.attention import MASKED_LOGIT


class TwoWayTransformer(nn.Module):
    """Layers of self-attention and two-way cross-attention, and a last attention to the image."""

    def __init__(self, dim: int, *, depth: int, num_heads: int, mlp_dim: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            TwoWayAttentionBlock(
                dim, num_heads=num_heads, mlp_dim=mlp_dim, skip_first_layer_pe=index == 0
            )
            for index in range(depth)
        )
        self.final_attn_token_to_image = TokenToImageAttention(
            dim, num_heads=num_heads, inner_dim=dim // 2
        )
        self.norm_final_attn = nn.LayerNorm(dim)

    def forward(
        self, image_embedding: Tensor, image_pe: Tensor, tokens: Tensor, token_mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Runs all layers.

        Args:
            image_embedding: [K,D,g,g].
            image_pe: [1,D,g,g].
            tokens: [K,T,D]; they are also added as the tokens' positions.
            token_mask: float [K,T], 0 hides a token as a key.

        Returns:
            queries [K,T,D] and keys [K,g*g,D].
        """
        keys = image_embedding.flatten(2).transpose(1, 2)
        key_pe = image_pe.flatten(2).transpose(1, 2)
        bias = ((1 - token_mask) * MASKED_LOGIT)[:, None, None, :]
        queries = tokens
        for layer in self.layers:
            queries, keys = layer(queries, keys, tokens, key_pe, bias)
        attended = self.final_attn_token_to_image(queries + tokens, keys + key_pe, keys)
        return self.norm_final_attn(queries + attended), keys


class TwoWayAttentionBlock(nn.Module):
    """Self-attention of tokens, cross-attention to the image, MLP, cross-attention of the image."""

    def __init__(
        self, dim: int, *, num_heads: int, mlp_dim: int, skip_first_layer_pe: bool
    ) -> None:
        super().__init__()
        self.skip_first_layer_pe = skip_first_layer_pe
        self.self_attn = Attention(dim, num_heads=num_heads, inner_dim=dim)
        self.norm1 = nn.LayerNorm(dim)
        self.cross_attn_token_to_image = TokenToImageAttention(
            dim, num_heads=num_heads, inner_dim=dim // 2
        )
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = TokenMLP(dim, mlp_dim)
        self.norm3 = nn.LayerNorm(dim)
        self.norm4 = ImageTokenNorm(dim)
        self.cross_attn_image_to_token = ImageToTokenAttention(
            dim, num_heads=num_heads, inner_dim=dim // 2
        )

    def forward(
        self, queries: Tensor, keys: Tensor, query_pe: Tensor, key_pe: Tensor, bias: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Maps queries [K,T,D] and keys [K,N,D] to the same; `bias` [K,1,1,T] hides tokens."""
        queries, k = self.update_tokens(queries, keys, query_pe, key_pe, bias)
        attended = self.cross_attn_image_to_token(k, queries + query_pe, queries, bias)
        return queries, self.norm4(keys + attended)

    def update_tokens(
        self, queries: Tensor, keys: Tensor, query_pe: Tensor, key_pe: Tensor, bias: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The first half: returns the new queries, and the keys with their positions."""
        if self.skip_first_layer_pe:
            queries = self.self_attn(queries, queries, queries, bias)
        else:
            q = queries + query_pe
            queries = queries + self.self_attn(q, q, queries, bias)
        queries = self.norm1(queries)
        k = keys + key_pe
        attended = self.cross_attn_token_to_image(queries + query_pe, k, keys)
        queries = self.norm2(queries + attended)
        return self.norm3(queries + self.mlp(queries)), k


class ImageTokenNorm(nn.LayerNorm):
    """LayerNorm of an image's tokens [K,N,D].

    onnxruntime joins a sum and the LayerNorm after it into one operator, if they have three
    dimensions. For many tokens that takes longer than the two do, so here they have four.
    """

    def forward(self, tokens_knd: Tensor) -> Tensor:
        """Maps [K,N,D] to the same shape."""
        return super().forward(tokens_knd.unsqueeze(1)).squeeze(1)


class TokenMLP(nn.Module):
    """Linear, ReLU, linear."""

    def __init__(self, dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.lin1 = nn.Linear(dim, hidden_dim)
        self.lin2 = nn.Linear(hidden_dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Maps [...,D] to [...,D]."""
        y: Tensor = self.lin2(F.relu(self.lin1(x)))
        return y


class Attention(nn.Module):
    """Multi-head attention whose inner width may be smaller than the tokens' width."""

    def __init__(self, dim: int, *, num_heads: int, inner_dim: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.head_dim = inner_dim // num_heads
        self.scale = self.head_dim**-0.5
        self.q_proj = nn.Linear(dim, inner_dim)
        self.k_proj = nn.Linear(dim, inner_dim)
        self.v_proj = nn.Linear(dim, inner_dim)
        self.out_proj = nn.Linear(inner_dim, dim)

    def forward(self, q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
        """Attends q [K,T,D] to k, v [K,N,D]; `bias` [K,1,1,N] is added to the logits."""
        q, k, v = (
            self.split(self.q_proj(q)),
            self.split(self.k_proj(k)),
            self.split(self.v_proj(v)),
        )
        logits = (q * self.scale) @ k.transpose(-2, -1) + bias
        y = (logits.softmax(dim=-1) @ v).transpose(1, 2).flatten(2)
        out: Tensor = self.out_proj(y)
        return out

    def split(self, tokens_ktc: Tensor) -> Tensor:
        """Maps [K,T,C] to heads [K,n,T,C/n]."""
        return tokens_ktc.reshape(*tokens_ktc.shape[:2], self.num_heads, self.head_dim).transpose(
            1, 2
        )

    def by_head(self, projection: nn.Linear) -> Tensor:
        """The rows of a projection's weight [C,D], by head: [n,C/n,D]."""
        return projection.weight.view(self.num_heads, self.head_dim, -1)


class TokenToImageAttention(Attention):
    """Attention from a few tokens to the many tokens of an image.

    Matrix products are associative. So the weights of keys and values are multiplied with the few
    tokens, and the image's tokens are neither projected nor split into heads: the same output for a
    fraction of the work.
    """

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:  # type: ignore[override]  # of fewer arguments
        """Attends q [K,T,D] to k, v [K,N,D]."""
        q = self.split(self.q_proj(q)) * self.scale
        # The keys' bias would add a constant to all logits of a query, which the softmax ignores.
        logits = (q @ self.by_head(self.k_proj)).flatten(1, 2) @ k.transpose(-2, -1)
        seen = (logits.softmax(dim=-1) @ v).reshape(v.shape[0], self.num_heads, -1, v.shape[-1])
        y = seen @ self.by_head(self.v_proj).transpose(-2, -1)
        out: Tensor = self.out_proj(y.transpose(1, 2).flatten(2) + self.v_proj.bias)
        return out


class ImageToTokenAttention(Attention):
    """Attention from the many tokens of an image to a few; see `TokenToImageAttention`."""

    def forward(self, q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
        """Attends q [K,N,D] to k, v [K,T,D]; `bias` [K,1,1,T] is added to the logits."""
        k, v = self.split(self.k_proj(k)) * self.scale, self.split(self.v_proj(v))
        own = self.q_proj.bias.view(self.num_heads, 1, -1) @ k.transpose(-2, -1) + bias
        keys = (k @ self.by_head(self.q_proj)).flatten(1, 2)
        logits = q @ keys.transpose(-2, -1) + own.flatten(1).unsqueeze(1)
        shares = logits.reshape(*q.shape[:2], self.num_heads, -1).softmax(dim=-1).flatten(2)
        outward = self.out_proj.weight.view(-1, self.num_heads, self.head_dim)
        values = (v @ outward.permute(1, 2, 0)).flatten(1, 2)
        out: Tensor = shares @ values + self.out_proj.bias
        return out
