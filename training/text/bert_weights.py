"""A small BERT's start: the weights of a large one, as far as there is room for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from samclip_sdk.modeling.bert_text_encoder import BertBlock, BertTextEncoder


@torch.no_grad()
def load_bert(
    encoder: BertTextEncoder,
    bert: Mapping[str, Tensor],
    *,
    layers: Sequence[int],
    pieces: Sequence[int],
    token_counts: Tensor,
) -> None:
    """Copies a BERT into an encoder of the same width; the MLP behind it stays as it is.

    Where the encoder has less room, it gets what matters most: of the token embeddings, the
    principal directions of those tokens that are used; of a layer's MLP, the neurons whose weights
    in and out are largest. Its blocks are these layers of transformers' BertModel, its tokens these
    V pieces, by their ids, of which each is used so often, float [V].
    """
    width = encoder.token_embedding.weight.shape[1]
    words = bert["embeddings.word_embeddings.weight"][list(pieces)].float()
    if isinstance(encoder.token_projection, torch.nn.Linear):
        # Weighted by use, but a token that never was may come yet.
        weighted = words * (token_counts + 1).sqrt().unsqueeze(1)
        axes = torch.linalg.eigh(weighted.T @ weighted).eigenvectors[:, -width:]
        encoder.token_embedding.weight.copy_(words @ axes)
        encoder.token_projection.weight.copy_(axes)
    else:
        encoder.token_embedding.weight.copy_(words)
    length = len(encoder.positional_embedding)
    positions = bert["embeddings.position_embeddings.weight"][:length]
    encoder.positional_embedding.copy_(
        positions + bert["embeddings.token_type_embeddings.weight"][0]
    )
    _copy(encoder.ln_embedding, bert, "embeddings.LayerNorm")
    for block, layer in zip(encoder.blocks, layers, strict=True):
        assert isinstance(block, BertBlock)
        _load_block(block, bert, prefix=f"encoder.layer.{layer}")


def _load_block(block: BertBlock, bert: Mapping[str, Tensor], *, prefix: str) -> None:
    attention = f"{prefix}.attention.self"
    for kind, part in (("weight", block.qkv.weight), ("bias", block.qkv.bias)):
        part.copy_(torch.cat([bert[f"{attention}.{x}.{kind}"] for x in ("query", "key", "value")]))
    _copy(block.out_proj, bert, f"{prefix}.attention.output.dense")
    _copy(block.ln_1, bert, f"{prefix}.attention.output.LayerNorm")
    into, out = bert[f"{prefix}.intermediate.dense.weight"], bert[f"{prefix}.output.dense.weight"]
    size = into.norm(dim=1) * out.norm(dim=0)
    kept = size.topk(block.fc.out_features).indices.sort().values
    block.fc.weight.copy_(into[kept])
    block.fc.bias.copy_(bert[f"{prefix}.intermediate.dense.bias"][kept])
    block.proj.weight.copy_(out[:, kept])
    block.proj.bias.copy_(bert[f"{prefix}.output.dense.bias"])
    _copy(block.ln_2, bert, f"{prefix}.output.LayerNorm")


def _copy(
    module: torch.nn.Linear | torch.nn.LayerNorm, bert: Mapping[str, Tensor], name: str
) -> None:
    module.weight.copy_(bert[f"{name}.weight"])
    module.bias.copy_(bert[f"{name}.bias"])
