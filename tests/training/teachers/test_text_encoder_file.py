from __future__ import annotations

from pathlib import Path

import pytest

from tests.tiny_config import TINY, TINY_BERT
from training.errors import TrainingError
from training.teachers.text_encoder_file import keep_tokenizer, make_tokenizer
from training.text.word_pieces import read_pieces

STUDENT = TINY.model_copy(update={"text_encoder": TINY_BERT})


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


def test_what_goes_on_keeps_its_word_pieces_whatever_its_texts_are(tmp_path: Path) -> None:
    config = TINY_BERT
    made = make_tokenizer(tmp_path / "start", config, texts=["a dog", "two dogs"])
    kept = keep_tokenizer(tmp_path / "start", tmp_path / "deep" / "run", config)
    texts = ["two dogs", "zebras of zanzibar"]
    assert kept(texts).tolist() == made(texts).tolist()


def test_a_vocabulary_without_room_for_the_letters(tmp_path: Path) -> None:
    config = TINY_BERT.model_copy(update={"vocab_size": 30})
    with pytest.raises(TrainingError, match="of 30 word pieces cannot be made"):
        make_tokenizer(tmp_path, config, texts=())
    assert list(tmp_path.iterdir()) == []
