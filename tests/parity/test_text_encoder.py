"""Text encoders against open_clip's and transformers': small ones, and all of ViT-L-14's."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import BertConfig, BertModel

from samclip_sdk.errors import BundleError
from samclip_sdk.modeling.bert_text_encoder import BertTextEncoder
from samclip_sdk.modeling.build import build_model
from samclip_sdk.modeling.checkpoint import load_text_encoder
from samclip_sdk.modeling.config import BertTextConfig, ClipTextConfig
from tests.parity.reference import build_clip, relative_error, small_config
from training.text.bert_weights import load_bert

BOUND = 1e-5
ACTIVATIONS = ("gelu", "quick_gelu")


class Pair(NamedTuple):
    """An encoder, what it is asked, and the reference's answer."""

    encoder: Any
    ask: Callable[[Any, Tensor], Tensor]
    ids: Tensor
    expected: Tensor


def texts(start: int, end: int, *, words: range, lengths: list[int]) -> Tensor:
    """Token ids int32 [K,L] with zeros behind the end: none, some, and as many as there is room."""
    generator = torch.Generator().manual_seed(7)
    ids = torch.zeros(len(lengths), lengths[-1] + 2, dtype=torch.int32)
    for row, length in enumerate(lengths):
        drawn = torch.randint(words.start, words.stop, (length,), generator=generator)
        ids[row, : length + 2] = torch.tensor([start, *drawn.tolist(), end])
    return ids


@torch.no_grad()
def clip_pair(text: ClipTextConfig, *, embed_dim: int) -> Pair:
    config = small_config(image_size_px=64).model_copy(
        update={"text_encoder": text, "embed_dim": embed_dim}
    )
    clip, model = build_clip(config, seed=1), build_model(config)
    load_text_encoder(model, clip)
    ids = texts(49406, 49407, words=range(49406), lengths=[0, 3, 40, 75])
    return Pair(model.text_encoder, nn.Module.__call__, ids, clip.encode_text(ids, normalize=True))


def random_bert() -> BertModel:
    torch.manual_seed(4)
    config = BertConfig(
        vocab_size=300,
        hidden_size=48,
        num_hidden_layers=3,
        num_attention_heads=6,
        intermediate_size=80,
        max_position_embeddings=30,
    )
    bert = BertModel(config).eval().requires_grad_(False)
    for parameter in bert.parameters():
        parameter.copy_(torch.randn(parameter.shape) * 0.3)
    return bert


@torch.no_grad()
def bert_pair(bert: BertModel, *, mlp_dim: int = 80, embedding_width: int = 48) -> Pair:
    config = BertTextConfig(
        vocab_size=300,
        width=48,
        num_heads=6,
        depth=3,
        mlp_dim=mlp_dim,
        embedding_width=embedding_width,
    )
    encoder = BertTextEncoder(config, embed_dim=20).eval()
    load_bert(
        encoder,
        bert.state_dict(),
        layers=(0, 1, 2),
        pieces=range(300),
        token_counts=torch.ones(300),
    )
    ids = texts(101, 102, words=range(103, 300), lengths=[0, 3, 15, 22])
    mask = (ids != 0).long()
    hidden = bert(input_ids=ids.long(), attention_mask=mask).last_hidden_state
    mean = (hidden * mask.unsqueeze(-1)).sum(1) / mask.sum(1, keepdim=True)
    return Pair(encoder, BertTextEncoder.sentences, ids, F.normalize(mean, dim=-1))


@pytest.fixture(scope="module", params=[*ACTIVATIONS, "bert"])
def pair(request: pytest.FixtureRequest) -> Pair:
    if request.param == "bert":
        return bert_pair(random_bert())
    text = ClipTextConfig(
        width=96, embedding_width=96, num_heads=6, depth=3, activation=request.param
    )
    return clip_pair(text, embed_dim=80)


@torch.no_grad()
def error(pair: Pair) -> float:
    return relative_error(pair.ask(pair.encoder, pair.ids), pair.expected)


def test_another_activation_is_refused() -> None:
    """Its weights would load, and every embedding be slightly wrong."""
    config = small_config(image_size_px=64)
    quick = config.text_encoder.model_copy(update={"activation": "quick_gelu"})
    clip = build_clip(config.model_copy(update={"text_encoder": quick}), seed=1)
    with pytest.raises(BundleError, match="has QuickGELU, the config small GELU"):
        load_text_encoder(build_model(config), clip)


def test_small_encoder(pair: Pair) -> None:
    assert error(pair) < BOUND


@pytest.mark.slow
def test_vit_l_14() -> None:
    assert error(clip_pair(ClipTextConfig(), embed_dim=768)) < BOUND


def test_with_less_room_bert_keeps_what_matters() -> None:
    """Tokens that are used lie in four directions, and half of the neurons do nothing."""
    bert = random_bert()
    words = bert.embeddings.word_embeddings.weight
    words[103:] = torch.randn(197, 4) @ torch.randn(4, 48)
    words[:103] = words[103:206]
    for layer in bert.encoder.layer:
        layer.output.dense.weight[:, ::2] = 0
    smaller = bert_pair(bert, mlp_dim=40, embedding_width=4)
    assert isinstance(smaller.encoder.token_projection, nn.Linear)
    assert error(smaller) < 1e-4


def roll_positions(encoder: Any) -> None:
    encoder.positional_embedding.copy_(encoder.positional_embedding.roll(1, dims=0))


def reverse_heads(encoder: Any) -> None:
    weight = encoder.blocks[1].out_proj.weight
    weight.copy_(weight.unflatten(1, (6, -1)).flip(1).flatten(1))


def see_padding(encoder: Any) -> None:
    for block in encoder.blocks:
        attend = block._attend
        block._attend = lambda x, bias, attend=attend: attend(x, 0 * bias)


@pytest.mark.parametrize(
    ("pair", "fault"),
    [
        *((each, fault) for each in ACTIVATIONS for fault in (roll_positions, reverse_heads)),
        *(("bert", fault) for fault in (roll_positions, see_padding)),
    ],
    indirect=["pair"],
)
@torch.no_grad()
def test_a_planted_fault_is_seen(pair: Pair, fault: Callable[[Any], None]) -> None:
    faulty = pair._replace(encoder=copy.deepcopy(pair.encoder))
    fault(faulty.encoder)
    assert error(faulty) > 10 * BOUND
