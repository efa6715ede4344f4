"""Token ids of the bert kind against transformers' BertTokenizer, with MiniLM's own vocabulary."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
from transformers import AutoTokenizer

from export.tokenizer import golden_texts, write_tokenizer
from samclip_sdk.errors import TextTruncatedWarning
from samclip_sdk.modeling.config import BertTextConfig
from samclip_sdk.text.tokenizer import Tokenizer, clean_text
from tests.parity.test_tokenizer import TEXTS
from training.text.sentences import sentence_folder

LENGTH = 24
SPECIAL = "[CLS] a [MASK] dog [SEP] more [PAD] [UNK]"


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return write_tokenizer(
        tmp_path_factory.mktemp("tokenizer") / "tokenizer.json", BertTextConfig()
    )


@pytest.fixture(scope="module")
def reference() -> Any:
    return AutoTokenizer.from_pretrained(str(sentence_folder()))


def test_texts(tokenizer: Tokenizer, reference: Any) -> None:
    assert tokenizer.context_length == LENGTH
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TextTruncatedWarning)
        found = tokenizer([*TEXTS, SPECIAL]).tolist()
    expected = reference(
        [clean_text(text) for text in (*TEXTS, SPECIAL)],
        truncation=True,
        max_length=LENGTH,
        padding="max_length",
    )["input_ids"]
    differing = [text for text, a, b in zip(TEXTS, found, expected, strict=False) if a != b]
    assert differing == []
    assert found[-1] == expected[-1]


def test_what_is_too_long_is_cut_with_a_warning(tokenizer: Tokenizer) -> None:
    with pytest.warns(TextTruncatedWarning, match="is longer than 24 tokens and was cut"):
        (ids,) = tokenizer(["dog " * 23]).tolist()
    assert ids[0] == 101
    assert ids[-1] == 102
    assert set(ids[1:-1]) == {3899}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tokenizer(["dog " * 22])


def test_the_bundles_goldens_are_transformers(reference: Any) -> None:
    for golden in golden_texts(BertTextConfig(context_length=1000)):
        assert golden.input_ids == tuple(reference(clean_text(golden.text))["input_ids"])


def test_goldens_are_cut_to_the_context(reference: Any) -> None:
    longest = max(golden_texts(BertTextConfig()), key=lambda golden: len(golden.text))
    assert len(longest.input_ids) == LENGTH
    expected = reference(clean_text(longest.text), truncation=True, max_length=LENGTH)
    assert longest.input_ids == tuple(expected["input_ids"])
