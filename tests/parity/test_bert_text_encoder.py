"""The bert kind of text encoder against transformers' BertModel, every parameter random."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import BertConfig, BertModel

from samclip_sdk.modeling.bert_text_encoder import BertTextEncoder
from samclip_sdk.modeling.config import BertTextConfig
from tests.parity.reference import relative_error
from tests.parity.test_text_encoder import roll_positions
from training.text.bert_weights import load_bert

BOUND = 1e-5
START, END = 101, 102


@pytest.fixture(scope="module")
def pair() -> tuple[BertModel, BertTextEncoder]:
    torch.manual_seed(4)
    bert = BertModel(
        BertConfig(
            vocab_size=300,
            hidden_size=48,
            num_hidden_layers=3,
            num_attention_heads=6,
            intermediate_size=80,
            max_position_embeddings=30,
        )
    ).eval()
    with torch.no_grad():
        for parameter in bert.parameters():
            parameter.copy_(torch.randn(parameter.shape) * 0.3)
    config = BertTextConfig(
        vocab_size=300, width=48, num_heads=6, depth=3, mlp_dim=80, embedding_width=48
    )
    encoder = BertTextEncoder(config, embed_dim=20).eval()
    load_bert(
        encoder,
        bert.state_dict(),
        layers=(0, 1, 2),
        pieces=range(300),
        token_counts=torch.zeros(300),
    )
    return bert, encoder


def texts() -> Tensor:
    """Token ids int32 [4,24]: start and end alone, short, long and full."""
    generator = torch.Generator().manual_seed(7)
    ids = torch.zeros(4, 24, dtype=torch.int32)
    for row, length in enumerate((0, 3, 15, 22)):
        words = torch.randint(103, 300, (length,), generator=generator)
        ids[row, : length + 2] = torch.tensor([START, *words.tolist(), END])
    return ids


@torch.no_grad()
def error(encoder: BertTextEncoder, bert: BertModel) -> float:
    ids = texts()
    mask = (ids != 0).long()
    hidden = bert(input_ids=ids.long(), attention_mask=mask).last_hidden_state
    mean = (hidden * mask.unsqueeze(-1)).sum(1) / mask.sum(1, keepdim=True)
    return relative_error(encoder.sentences(ids), F.normalize(mean, dim=-1))


def test_sentences(pair: tuple[BertModel, BertTextEncoder]) -> None:
    bert, encoder = pair
    assert error(encoder, bert) < BOUND


def see_padding(encoder: BertTextEncoder) -> None:
    for block in encoder.blocks:
        attend = block._attend
        block._attend = lambda x, bias, attend=attend: attend(x, 0 * bias)


@pytest.mark.parametrize("fault", [roll_positions, see_padding])
@torch.no_grad()
def test_a_planted_fault_is_seen(
    pair: tuple[BertModel, BertTextEncoder], fault: Callable[[BertTextEncoder], None]
) -> None:
    bert, encoder = pair
    faulty = copy.deepcopy(encoder)
    fault(faulty)
    assert error(faulty, bert) > 10 * BOUND


def test_with_less_room_it_keeps_what_matters(pair: tuple[BertModel, BertTextEncoder]) -> None:
    """Tokens that are used lie in four directions, and half of the neurons do nothing."""
    bert = copy.deepcopy(pair[0])
    state = bert.state_dict()
    words = state["embeddings.word_embeddings.weight"]
    words[103:] = torch.randn(197, 4) @ torch.randn(4, 48)
    words[:103] = words[103:206]
    for layer in range(3):
        state[f"encoder.layer.{layer}.output.dense.weight"][:, ::2] = 0
    config = BertTextConfig(
        vocab_size=300, width=48, num_heads=6, depth=3, mlp_dim=40, embedding_width=4
    )
    encoder = BertTextEncoder(config, embed_dim=20).eval()
    load_bert(encoder, state, layers=(0, 1, 2), pieces=range(300), token_counts=torch.ones(300))
    bert.load_state_dict(state)
    assert isinstance(encoder.token_projection, nn.Linear)
    assert error(encoder, bert) < 1e-4
