from __future__ import annotations

import pytest
import torch

from samclip_sdk.modeling.bert_text_encoder import BertTextEncoder
from samclip_sdk.modeling.build import build_model
from samclip_sdk.modeling.config import BertTextConfig
from tests.tiny_config import TINY

START, END = 101, 102
TEXT = [START, 105, 117, 130, END]
CONFIG = BertTextConfig(
    context_length=12,
    vocab_size=200,
    width=32,
    num_heads=4,
    depth=2,
    mlp_dim=48,
    embedding_width=8,
    hidden_dim=40,
)


@pytest.fixture(scope="module")
def encoder() -> BertTextEncoder:
    config = TINY.model_copy(update={"text_encoder": CONFIG})
    built = build_model(config, seed=2).text_encoder
    assert isinstance(built, BertTextEncoder)
    return built


def ids(*rows: list[int], length: int = 12) -> torch.Tensor:
    return torch.tensor([row + [0] * (length - len(row)) for row in rows], dtype=torch.int32)


def test_unit_embeddings_of_each_text(encoder: BertTextEncoder) -> None:
    embeddings = encoder(ids(TEXT, [START, END], [START, 105, END]))
    assert embeddings.shape == (3, TINY.embed_dim)
    torch.testing.assert_close(embeddings.norm(dim=-1), torch.ones(3))
    assert not torch.allclose(embeddings[0], embeddings[2], atol=1e-3)


def test_padding_has_no_influence(encoder: BertTextEncoder) -> None:
    whole = encoder(ids(TEXT))
    for length in range(len(TEXT), 12):
        torch.testing.assert_close(encoder(ids(TEXT, length=length)), whole, rtol=0, atol=1e-6)


def test_every_token_has(encoder: BertTextEncoder) -> None:
    whole = encoder(ids(TEXT))
    for place in range(len(TEXT)):
        other = [*TEXT]
        other[place] = 150
        assert not torch.allclose(encoder(ids(other)), whole, atol=1e-4), place


def test_the_order_of_words_matters(encoder: BertTextEncoder) -> None:
    turned = [START, 117, 105, 130, END]
    assert not torch.allclose(encoder(ids(turned)), encoder(ids(TEXT)), atol=1e-4)


def test_a_text_does_not_depend_on_its_neighbours(encoder: BertTextEncoder) -> None:
    together = encoder(ids([START, 103, END], TEXT, [START, END]))
    torch.testing.assert_close(together[1:2], encoder(ids(TEXT)), rtol=0, atol=1e-6)


def test_int64_ids_are_the_same_text(encoder: BertTextEncoder) -> None:
    assert torch.equal(encoder(ids(TEXT).long()), encoder(ids(TEXT)))


def test_the_mean_is_taken_off_before_the_map(encoder: BertTextEncoder) -> None:
    moved = BertTextEncoder(CONFIG, embed_dim=TINY.embed_dim)
    moved.load_state_dict(encoder.state_dict())
    sentences = encoder.sentences(ids(TEXT))
    moved.sentence_mean.copy_(0.5 * sentences[0])
    # Half a unit vector taken off, and to unit length again: the same direction.
    torch.testing.assert_close(moved(ids(TEXT)), encoder(ids(TEXT)), rtol=0, atol=1e-6)
