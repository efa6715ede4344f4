"""Texts of both kinds: each token counts, its place too, and nothing beside the text."""

from __future__ import annotations

from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn

from samclip_sdk.modeling.bert_text_encoder import BertTextEncoder
from samclip_sdk.modeling.build import build_model
from samclip_sdk.modeling.config import ModelConfig
from tests.tiny_config import TINY, TINY_BERT


class Texts(NamedTuple):
    encoder: nn.Module
    start: int
    end: int

    def ids(self, *texts: list[int], length: int = 12) -> Tensor:
        """int32 [K,length]: words between start and end, then zeros."""
        rows = [[self.start, *words, self.end] for words in texts]
        return torch.tensor([row + [0] * (length - len(row)) for row in rows], dtype=torch.int32)


WORDS = [5, 17, 30]


@pytest.fixture(params=["clip", "bert"])
def texts(request: pytest.FixtureRequest, config: ModelConfig) -> Texts:
    if request.param == "bert":
        config = TINY.model_copy(update={"text_encoder": TINY_BERT})
    encoder = build_model(config, seed=2).text_encoder
    return Texts(encoder, 101, 102) if request.param == "bert" else Texts(encoder, 48, 49)


def test_padding_and_neighbours_have_no_influence(texts: Texts) -> None:
    alone = texts.encoder(texts.ids(WORDS, length=5))
    together = texts.encoder(texts.ids([3], WORDS, []))
    torch.testing.assert_close(together[1:2], alone, rtol=0, atol=1e-6)
    assert torch.equal(texts.encoder(texts.ids(WORDS, length=5).long()), alone)


def test_the_mean_is_taken_off_before_the_map() -> None:
    encoder = build_model(TINY.model_copy(update={"text_encoder": TINY_BERT}), seed=2).text_encoder
    assert isinstance(encoder, BertTextEncoder)
    ids = Texts(encoder, 101, 102).ids(WORDS)
    moved = BertTextEncoder(TINY_BERT, embed_dim=TINY.embed_dim)
    moved.load_state_dict(encoder.state_dict())
    moved.sentence_mean.copy_(0.5 * encoder.sentences(ids)[0])
    # Half a unit vector taken off, and to unit length again: the same direction.
    torch.testing.assert_close(moved(ids), encoder(ids), rtol=0, atol=1e-6)
