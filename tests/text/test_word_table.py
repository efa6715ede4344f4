from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from samclip_sdk.errors import BundleError
from samclip_sdk.text.word_table import Reading, WordReader, read_table
from tests.label_cases import TABLE, WORDS
from tests.refusals import refused

READER = WordReader(TABLE, WORDS)


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        ("dog", "taught", "dog"),
        ("dogs", "same", "dog"),
        ("the couches", "same", "sofa"),
        ("t shirts", "same", "t-shirt"),
        ("glasses", "same", "eyeglasses"),
        ("woman", "read_as", "person"),
        ("animals", "read_as", "dog cat"),
        ("coffee cup", "read_as", "cup"),
        ("cup of coffee", "read_as", "cup"),
        ("slices of the bread", "read_as", "bread"),
        ("hat with a red feather", "read_as", "hat"),
    ],
)
def test_a_text_is_read(text: str, kind: str, words: str) -> None:
    found = READER.read(text)
    assert found is not None
    assert (found.kind, found.words) == (kind, tuple(words.split()))


@pytest.mark.parametrize("text", ["router", "hot plate", "old hot-plates", "monster", "of", "the"])
def test_a_text_is_not_known(text: str) -> None:
    assert READER.read(text) is None


@given(st.lists(st.sampled_from([*WORDS, "of", "the", "with", "slice", "red", "s", "'s", "-"])))
def test_any_text_is_read_by_taught_words_alone(parts: list[str]) -> None:
    found = READER.read(" ".join(parts))
    assert found is None or (found.words and set(found.words) <= set(WORDS))


def test_what_an_answer_must_tell() -> None:
    assert not Reading("taught", ("dog",)).told
    assert not Reading("same", ("dog",)).told
    assert Reading("read_as", ("dog",)).to_dict() == {"kind": "read_as", "words": ["dog"]}
    unknown = Reading("unknown", ("modem",), 0.25)
    assert unknown.told
    assert unknown.to_dict() == {"kind": "unknown", "words": ["modem"], "cosine": 0.25}


def test_a_table_is_read_from_its_file(tmp_path: Path) -> None:
    path = tmp_path / "words.json"
    path.write_text(TABLE.model_dump_json(), encoding="utf-8")
    assert read_table(path) == TABLE


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"", "words.json"),
        (b"{}", "Field required"),
        (b'{"schema_version": 2}', "schema_version"),
        (b"[" * 100_000, "words.json"),
        (b'{"same": {"dog": [' + b"1," * 60_000, "more than 60000 values"),
        (b" " * (4 << 20) + b"{}", "4194304 bytes"),
    ],
)
def test_a_damaged_table_is_refused(content: bytes, word: str, tmp_path: Path) -> None:
    path = tmp_path / "words.json"
    path.write_bytes(content)
    refused(lambda: read_table(path), BundleError, word)


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    refused(lambda: read_table(tmp_path / "words.json"), BundleError, "words.json")
