from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from samclip_sdk.modeling.bert_text_encoder import BertTextEncoder
from samclip_sdk.modeling.build import build_model
from samclip_sdk.modeling.config import BertTextConfig
from tests.tiny_config import TINY, TINY_BERT
from training.errors import TrainingError
from training.teachers.text_encoder_file import make_tokenizer, save_text_encoder
from training.text.word_pieces import read_pieces

STUDENT = TINY.model_copy(update={"text_encoder": TINY_BERT})


def test_a_student_takes_the_weights_that_are_written(tmp_path: Path) -> None:
    student = build_model(STUDENT)
    encoder = BertTextEncoder(TINY_BERT, embed_dim=TINY.embed_dim)
    save_text_encoder(encoder, tmp_path, config=TINY_BERT, provenance={"stage": "text_encoder"})
    student.text_encoder.load_state_dict(load_file(tmp_path / "model.safetensors"))
    ids = torch.tensor([[101, 3899, 102]], dtype=torch.int32)
    assert torch.equal(student.text_encoder(ids), encoder.eval()(ids))
    content = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    assert BertTextConfig.model_validate(content["text_encoder"]) == TINY_BERT
    assert content["provenance"] == {"stage": "text_encoder"}


def test_a_small_tokenizer_spells_what_its_texts_do_not_use(tmp_path: Path) -> None:
    config = TINY_BERT.model_copy(update={"vocab_size": 112})
    tokenizer = make_tokenizer(tmp_path, config, texts=["a dog", "two dogs"])
    pieces = read_pieces(tmp_path / "tokenizer.json")
    ids = tokenizer(["a dog", "cat"])
    assert [[pieces[index] for index in row] for row in ids] == [
        ["[CLS]", "a", "dog", "[SEP]", *["[PAD]"] * 20],
        ["[CLS]", "c", "##a", "##t", "[SEP]", *["[PAD]"] * 19],
    ]
    assert len(pieces) == 112
    assert ids[0, -1] == 0


def test_a_vocabulary_without_room_for_the_letters(tmp_path: Path) -> None:
    config = TINY_BERT.model_copy(update={"vocab_size": 30})
    with pytest.raises(TrainingError, match="of 30 word pieces cannot be made"):
        make_tokenizer(tmp_path, config, texts=())
    assert list(tmp_path.iterdir()) == []
