from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from samclip_sdk.modeling.bert_text_encoder import BertTextEncoder
from samclip_sdk.modeling.build import build_model
from samclip_sdk.modeling.config import BertTextConfig
from samclip_sdk.text.tokenizer import Tokenizer
from tests.tiny_config import TINY
from training.errors import TrainingError
from training.teachers.text_encoder_file import make_tokenizer, save_text_encoder
from training.text.word_pieces import read_pieces

CONFIG = BertTextConfig(
    context_length=8, width=16, num_heads=2, depth=1, mlp_dim=16, embedding_width=4, hidden_dim=8
)

STUDENT = TINY.model_copy(update={"text_encoder": CONFIG})


def test_a_student_takes_the_weights_that_are_written(tmp_path: Path) -> None:
    student = build_model(STUDENT)
    encoder = BertTextEncoder(CONFIG, embed_dim=TINY.embed_dim)
    save_text_encoder(encoder, tmp_path, config=CONFIG, provenance={"stage": "text_encoder"})
    student.text_encoder.load_state_dict(load_file(tmp_path / "model.safetensors"))
    ids = torch.tensor([[101, 3899, 102]], dtype=torch.int32)
    assert torch.equal(student.text_encoder(ids), encoder.eval()(ids))
    content = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    assert BertTextConfig.model_validate(content["text_encoder"]) == CONFIG
    assert content["provenance"] == {"stage": "text_encoder"}


def test_the_tokenizer_has_the_context_length(tmp_path: Path) -> None:
    tokenizer = make_tokenizer(tmp_path / "run", CONFIG, texts=())
    assert tokenizer(["a dog"]).tolist() == [[101, 1037, 3899, 102, 0, 0, 0, 0]]
    Tokenizer(tmp_path / "run" / "tokenizer.json", context_length=8)


def test_a_small_tokenizer_spells_what_its_texts_do_not_use(tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"vocab_size": 112})
    tokenizer = make_tokenizer(tmp_path, config, texts=["a dog", "two dogs"])
    pieces = read_pieces(tmp_path / "tokenizer.json")
    ids = tokenizer(["a dog", "cat"])
    assert [[pieces[index] for index in row] for row in ids] == [
        ["[CLS]", "a", "dog", "[SEP]", *["[PAD]"] * 4],
        ["[CLS]", "c", "##a", "##t", "[SEP]", *["[PAD]"] * 3],
    ]
    assert len(pieces) == 112
    assert ids[0, -1] == 0


def test_a_vocabulary_without_room_for_the_letters(tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"vocab_size": 30})
    with pytest.raises(TrainingError, match="of 30 word pieces cannot be made"):
        make_tokenizer(tmp_path, config, texts=())
    assert list(tmp_path.iterdir()) == []
