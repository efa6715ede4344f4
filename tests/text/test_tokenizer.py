from __future__ import annotations

import html
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import ftfy
import numpy as np
import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st

from samclip_sdk.errors import BundleError, TextError, TextTruncatedWarning
from samclip_sdk.text.tokenizer import MAX_LETTERS, Tokenizer, check_labels, check_texts, clean_text
from tests.example_bundle import put
from tests.refusals import refused

START, END = 49406, 49407


@pytest.fixture(scope="module")
def tokenizer(tokenizer_path: Path) -> Tokenizer:
    return Tokenizer(tokenizer_path, context_length=77)


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("  A\n\t Dog ", "a dog"),
        ("fish &amp;amp; chips", "fish & chips"),
        ("\u201cquoted\u201d", '"quoted"'),
        ("schÃ¶n", "schön"),
        ("\u00a0", ""),
    ],
)
def test_cleans_as_clip(text: str, cleaned: str) -> None:
    assert clean_text(text) == cleaned


def test_ids(tokenizer: Tokenizer) -> None:
    ids = tokenizer(["a dog", ""])
    assert ids.shape == (2, 77)
    assert ids.dtype == np.int32
    assert ids[0, :5].tolist() == [START, 320, 1929, END, 0]
    assert ids[1, :3].tolist() == [START, END, 0]
    assert tokenizer([]).shape == (0, 77)


def test_tells_how_long_each_text_is(tokenizer: Tokenizer) -> None:
    encoded = tokenizer.encode(["a dog", "!", "dog " * 100])
    assert encoded.lengths.tolist() == [4, 3, 77]  # "!" has the id of the padding
    assert encoded.cut.tolist() == [False, False, True]


def test_truncates_with_a_warning(tokenizer: Tokenizer) -> None:
    text = "dog " * 2500
    with pytest.warns(TextTruncatedWarning, match=r"'dog dog .*\.\.\.' is longer than 77 tokens"):
        ids = tokenizer([text])
    assert ids[0].tolist() == [START, *[1929] * 75, END]


def test_refuses_a_file_without_a_token_for_the_unknown(tmp_path: Path) -> None:
    """It loads: what is missing shows at a text."""
    model = tokenizers.models.WordLevel({"dog": 0, "a": 1}, unk_token="?")
    broken = tokenizers.Tokenizer(model)
    broken.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    broken.enable_truncation(8)
    broken.enable_padding(length=8)
    path = tmp_path / "tokenizer.json"
    broken.save(str(path))
    tokenizer = Tokenizer(path, context_length=8)
    assert tokenizer(["a dog"]).shape == (1, 8)
    refused(lambda: tokenizer(["a cat"]), BundleError, "tokenizer.json", "'a cat'")


def changed(path: Path, folder: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """A tokenizer.json with something else in it."""
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    found = folder / "tokenizer.json"
    found.write_text(json.dumps(content), encoding="utf-8")
    return found


def setting(value: object, *keys: str) -> Callable[[dict[str, Any]], object]:
    return lambda content: put(content, value, *keys)


def length(value: int) -> Callable[[dict[str, Any]], object]:
    def change(content: dict[str, Any]) -> None:
        put(content, value, "truncation", "max_length")
        put(content, {"Fixed": value}, "padding", "strategy")

    return change


def replacing(pattern: dict[str, str], content: str) -> dict[str, Any]:
    return {"type": "Replace", "pattern": pattern, "content": content}


def splitting(pattern: str) -> dict[str, Any]:
    found = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated"}
    return {**found, "invert": False}


def in_sequence(*parts: dict[str, Any], kind: str = "normalizers") -> dict[str, Any]:
    return {"type": "Sequence", kind: list(parts)}


GROWING = replacing({"String": "a"}, "a" * 1000)
DIGITS = {"type": "Digits", "individual_digits": True}
SPACES = {"type": "Metaspace", "replacement": "_", "prepend_scheme": "always", "split": True}
END_TOKEN = {"SpecialToken": {"id": "<end_of_text>", "type_id": 0}}
NORMALIZERS: list[tuple[dict[str, Any], str]] = [
    (GROWING, "aaa"),
    (in_sequence({"type": "NFC"}, in_sequence(GROWING)), "aaa"),
    (replacing({"String": ""}, "\u00e9"), "ASCII"),
    (replacing({"Regex": "(a+)+$"}, "b"), "(a+)+$"),
    ({"type": "Prepend", "prepend": "a" * 1_000_000}, "Prepend"),
    (in_sequence(*[replacing({"String": ""}, "a")] * 9), "9"),
]
PRE_TOKENIZERS: list[tuple[dict[str, Any], str]] = [
    (splitting("(.*a){25}b"), "patterns"),
    (in_sequence(DIGITS, splitting("(a|a)*b"), kind="pretokenizers"), "patterns"),
    (SPACES, "Metaspace"),
]
WRONG_FILES: list[tuple[Callable[[dict[str, Any]], object], str]] = [
    (setting(None, "padding"), "77 tokens"),
    (setting(50, "truncation", "max_length"), "77 tokens"),
    *((length(each), "77 tokens") for each in (0, 1, 76, 78, 2**40, 2**62)),
    # Padding is zeros behind the text.
    *(
        (setting(value, "padding", key), "zeros")
        for key, value in (
            *(("pad_to_multiple_of", 2**60), ("pad_to_multiple_of", 8), ("pad_id", 2**32 - 1)),
            *(("pad_id", 1), ("direction", "Left"), ("strategy", "BatchLongest")),
        )
    ),
    (setting([END_TOKEN] * 77, "post_processor", "single"), "77 tokens of its own"),
    # No part makes a text grow, or waits without end.
    *((setting(part, "normalizer"), word) for part, word in NORMALIZERS),
    *((setting(part, "pre_tokenizer"), word) for part, word in PRE_TOKENIZERS),
]


@pytest.mark.parametrize(("change", "word"), WRONG_FILES)
def test_a_file_that_cannot_be_clips_is_refused(
    tokenizer_path: Path,
    tmp_path: Path,
    change: Callable[[dict[str, Any]], object],
    word: str,
) -> None:
    path = changed(tokenizer_path, tmp_path, change)
    error = refused(lambda: Tokenizer(path, context_length=77), BundleError, word)
    assert len(str(error)) < 600


@pytest.mark.parametrize("content", [None, b"", b"{}", b"[1", bytes((32 << 20) + 1)])
def test_a_damaged_file_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "tokenizer.json"
    if content is not None:
        path.write_bytes(content)
    refused(lambda: Tokenizer(path, context_length=77), BundleError, "tokenizer.json")


def test_parts_that_both_kinds_have(tokenizer_path: Path, tmp_path: Path) -> None:
    """As transformers writes CLIP's."""
    spaces = replacing({"Regex": r"\s+"}, " ")
    part = in_sequence({"type": "NFC"}, spaces, {"type": "Lowercase"})
    path = changed(tokenizer_path, tmp_path, setting(part, "normalizer"))
    assert Tokenizer(path, context_length=77)(["a dog"])[0, :4].tolist() == [START, 320, 1929, END]


def test_an_id_beyond_int32(tokenizer_path: Path, tmp_path: Path) -> None:
    ids = setting([2**32 - 1], "post_processor", "special_tokens", "<end_of_text>", "ids")
    tokenizer = Tokenizer(changed(tokenizer_path, tmp_path, ids), context_length=77)
    refused(lambda: tokenizer(["a dog"]), BundleError, "4294967295")


class PanicException(BaseException):  # Rust's, which no module gives out
    """Stands in for what a panic of Rust becomes in Python."""


@pytest.mark.parametrize(
    ("raised", "error"),
    [(PanicException("a lock is poisoned"), BundleError), (KeyboardInterrupt(), KeyboardInterrupt)],
)
def test_a_panic_is_an_error_of_the_bundle(
    tokenizer_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    raised: BaseException,
    error: type[BaseException],
) -> None:
    panicking = mock.Mock(encode=mock.Mock(side_effect=raised))
    monkeypatch.setattr("samclip_sdk.text.tokenizer.open_tokenizer", lambda *_, **__: panicking)
    with pytest.raises(error) as caught:
        Tokenizer(tokenizer_path, context_length=77)(["a dog"])
    assert str(raised) in str(caught.value)


def test_one_string_is_one_text() -> None:
    assert check_texts("a dog") == ("a dog",)


TEXTS: list[tuple[Any, str]] = [
    ([], "no text"),
    ([""], " 0 "),
    (["dog", " \n"], " 1 "),
    (["&nbsp;"], " 0 "),
    ([None], "NoneType"),
    ([b"dog"], "bytes"),
    (None, "NoneType"),
    (["dog", "a\0b"], r"'a\x00b'"),
    (["a\ud800"], r"'a\ud800'"),
]
LABELS: list[tuple[Any, str]] = [
    (["dog", "cat", "dog"], "'dog'"),
    (["dog", "Dog "], "'Dog '"),
    (["fish & chips", "fish &amp; chips"], "'fish &amp; chips'"),
]


@pytest.mark.parametrize(
    ("check", "texts", "word"),
    [
        *((check, *row) for check in (check_texts, check_labels) for row in TEXTS),
        *((check_labels, *row) for row in LABELS),
        (partial(check_labels, max_labels=2), ["a", "b", "c"], "3 labels"),
    ],
)
def test_what_is_no_text_or_label_is_refused(
    check: Callable[[Any], object], texts: Any, word: str
) -> None:
    refused(lambda: check(texts), TextError, word)


def test_equal_texts_are_no_fault() -> None:
    for texts, _ in LABELS:
        assert check_texts(texts) == tuple(texts)
    assert len(check_labels(["a", "b"], max_labels=2)) == 2


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126, exclude_characters="&")))
def test_ftfy_has_nothing_to_mend_in_plain_text(text: str) -> None:
    """So it is not even imported for such."""
    assert html.unescape(ftfy.fix_text(text)) == text


def test_a_text_is_cut_before_it_is_cleaned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cleaning a million letters takes a second, and each of 80 templates would hold them."""
    seen: list[int] = []
    fix_text = ftfy.fix_text
    monkeypatch.setattr(ftfy, "fix_text", lambda text: seen.append(len(text)) or fix_text(text))
    assert clean_text("Ä" * 1_000_000) == "ä" * MAX_LETTERS
    assert seen == [MAX_LETTERS]


def test_nothing_that_the_context_holds_is_cut(tokenizer: Tokenizer) -> None:
    """The longest words of the vocabulary fill the context in fewer letters than are kept."""
    longest = "blackandwhitephotography"
    assert tokenizer([longest])[0, 2] == END
    text = " ".join([longest] * 75)
    assert len(text) < MAX_LETTERS
    assert tokenizer([text])[0, -1] == END
