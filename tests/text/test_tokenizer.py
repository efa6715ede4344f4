from __future__ import annotations

import html
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ftfy
import numpy as np
import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st

from samclip_sdk.errors import BundleError, TextError, TextTruncatedWarning
from samclip_sdk.text.tokenizer import (
    MAX_LETTERS,
    Tokenizer,
    check_labels,
    check_texts,
    clean_text,
    read_templates,
)

START, END = 49406, 49407


@pytest.fixture(scope="module")
def tokenizer(tokenizer_path: Path) -> Tokenizer:
    return Tokenizer(tokenizer_path, context_length=77)


def test_templates() -> None:
    templates = read_templates()
    assert len(set(templates)) == 80
    assert all(template.count("{}") == 1 for template in templates)


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


def test_a_text_that_just_fits_does_not_warn(tokenizer: Tokenizer) -> None:
    assert tokenizer(["dog " * 75])[0, -1] == END


def unpadded(content: dict[str, Any]) -> None:
    content["padding"] = None


def unequal(content: dict[str, Any]) -> None:
    content["truncation"]["max_length"] = 50


@pytest.mark.parametrize("change", [unpadded, unequal])
def test_refuses_a_file_without_one_length(
    tokenizer_path: Path, tmp_path: Path, change: Callable[[dict[str, Any]], None]
) -> None:
    content = json.loads(tokenizer_path.read_text(encoding="utf-8"))
    change(content)
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(BundleError, match="does not truncate to the 77 tokens"):
        Tokenizer(path, context_length=77)


@pytest.mark.parametrize("content", [None, "", "{}", "[1"])
def test_refuses_a_damaged_file(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "tokenizer.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(BundleError, match="cannot be read"):
        Tokenizer(path, context_length=77)


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
    with pytest.raises(BundleError, match=r"tokenizer\.json cannot read 'a cat': .*UNK"):
        tokenizer(["a cat"])


def changed(path: Path, folder: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """A tokenizer.json with something else in it."""
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    found = folder / "tokenizer.json"
    found.write_text(json.dumps(content), encoding="utf-8")
    return found


def put(value: object, *keys: str) -> Callable[[dict[str, Any]], None]:
    def change(content: dict[str, Any]) -> None:
        for key in keys[:-1]:
            content = content[key]
        content[keys[-1]] = value

    return change


@pytest.mark.parametrize("length", [0, 1, 76, 78, 2**40, 2**62])
def test_another_length_than_the_models_is_refused_before_a_text_is_padded(
    tokenizer_path: Path, tmp_path: Path, length: int
) -> None:
    def change(content: dict[str, Any]) -> None:
        content["truncation"]["max_length"] = length
        content["padding"]["strategy"] = {"Fixed": length}

    path = changed(tokenizer_path, tmp_path, change)
    with pytest.raises(BundleError, match="does not truncate to the 77 tokens that its model"):
        Tokenizer(path, context_length=77)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("pad_to_multiple_of", 2**60),
        ("pad_to_multiple_of", 8),
        ("pad_id", 2**32 - 1),
        ("pad_id", 1),
        ("direction", "Left"),
        ("strategy", "BatchLongest"),
    ],
)
def test_padding_is_zeros_behind_the_text(
    tokenizer_path: Path, tmp_path: Path, key: str, value: object
) -> None:
    path = changed(tokenizer_path, tmp_path, put(value, "padding", key))
    with pytest.raises(BundleError, match="pad with zeros to as many"):
        Tokenizer(path, context_length=77)


def test_special_tokens_leave_room_for_a_text(tokenizer_path: Path, tmp_path: Path) -> None:
    end = [{"SpecialToken": {"id": "<end_of_text>", "type_id": 0}}]
    path = changed(tokenizer_path, tmp_path, put(end * 77, "post_processor", "single"))
    with pytest.raises(BundleError, match="adds 77 tokens of its own to a text"):
        Tokenizer(path, context_length=77)


def replacing(pattern: dict[str, str], content: str) -> dict[str, Any]:
    return {"type": "Replace", "pattern": pattern, "content": content}


def splitting(pattern: str) -> dict[str, Any]:
    found = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated"}
    return {**found, "invert": False}


def in_sequence(*parts: dict[str, Any], kind: str = "normalizers") -> dict[str, Any]:
    return {"type": "Sequence", kind: list(parts)}


GROWING = replacing({"String": "a"}, "a" * 1000)


@pytest.mark.parametrize(
    ("key", "part", "told"),
    [
        ("normalizer", GROWING, "puts a+ .* in the place"),
        ("normalizer", in_sequence({"type": "NFC"}, in_sequence(GROWING)), "in the place"),
        ("normalizer", replacing({"String": ""}, "\u00e9"), "one letter of ASCII is the most"),
        ("normalizer", replacing({"Regex": "(a+)+$"}, "b"), r"looks for \(a\+\)\+\$"),
        ("normalizer", {"type": "Prepend", "prepend": "a" * 1_000_000}, "has a Prepend"),
        ("normalizer", in_sequence(*[replacing({"String": ""}, "a")] * 9), "has 9 parts"),
        ("pre_tokenizer", splitting("(.*a){25}b"), "no patterns but CLIP's"),
        (
            "pre_tokenizer",
            in_sequence(
                {"type": "Digits", "individual_digits": True},
                splitting("(a|a)*b"),
                kind="pretokenizers",
            ),
            "no patterns but CLIP's",
        ),
        (
            "pre_tokenizer",
            {"type": "Metaspace", "replacement": "_", "prepend_scheme": "always", "split": True},
            "has a Metaspace",
        ),
    ],
)
def test_no_part_makes_a_text_grow_or_wait_without_end(
    tokenizer_path: Path, tmp_path: Path, key: str, part: dict[str, Any], told: str
) -> None:
    path = changed(tokenizer_path, tmp_path, put(part, key))
    with pytest.raises(BundleError, match=told) as caught:
        Tokenizer(path, context_length=77)
    assert len(str(caught.value)) < 600


def test_parts_that_both_kinds_have(tokenizer_path: Path, tmp_path: Path) -> None:
    """As transformers writes CLIP's."""
    spaces = replacing({"Regex": r"\s+"}, " ")
    part = in_sequence({"type": "NFC"}, spaces, {"type": "Lowercase"})
    path = changed(tokenizer_path, tmp_path, put(part, "normalizer"))
    assert Tokenizer(path, context_length=77)(["a dog"])[0, :4].tolist() == [START, 320, 1929, END]


def test_an_id_beyond_int32(tokenizer_path: Path, tmp_path: Path) -> None:
    ids = put([2**32 - 1], "post_processor", "special_tokens", "<end_of_text>", "ids")
    tokenizer = Tokenizer(changed(tokenizer_path, tmp_path, ids), context_length=77)
    with pytest.raises(BundleError, match="cannot read 'a dog': the id 4294967295 is beyond int32"):
        tokenizer(["a dog"])


class PanicException(BaseException):  # Rust's, which no module gives out
    """Stands in for what a panic of Rust becomes in Python."""


def test_a_panic_is_an_error_of_the_bundle(
    tokenizer_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = Tokenizer(tokenizer_path, context_length=77)

    class Panicking:
        def encode(self, text: str) -> None:
            raise self.error

        error: BaseException = PanicException("a lock is poisoned")

    panicking = Panicking()
    monkeypatch.setattr(tokenizer, "_tokenizer", panicking)
    with pytest.raises(BundleError, match="cannot read 'a dog': a lock is poisoned"):
        tokenizer(["a dog"])
    panicking.error = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        tokenizer(["a dog"])


def test_a_file_beyond_all_measure_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    with path.open("wb") as file:
        file.truncate((32 << 20) + 1)
    with pytest.raises(BundleError, match="it has more than 33554432 bytes"):
        Tokenizer(path, context_length=77)


def test_one_string_is_one_text() -> None:
    assert check_texts("a dog") == ("a dog",)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ([], "there is no text"),
        ([""], "text 0 is empty"),
        (["dog", " \n"], "text 1 is empty"),
        (["&nbsp;"], "text 0 is empty"),
        ([None], "text 0 is a NoneType"),
        ([b"dog"], "text 0 is a bytes"),
        (None, "a string or several, not a NoneType"),
        (["dog", "a\0b"], r"text 1 holds a NUL character: 'a\\x00b'"),
        (["a\ud800"], r"half of a surrogate pair: 'a\\ud800'"),
    ],
)
def test_refuses(texts: Any, message: str) -> None:
    for check in (check_texts, check_labels):
        with pytest.raises(TextError, match=message):
            check(texts)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["dog", "cat", "dog"], "the label 'dog' is there twice"),
        (["dog", "Dog "], "the labels 'dog' and 'Dog ' are the same one to CLIP"),
        (["fish & chips", "fish &amp; chips"], "are the same one to CLIP"),
    ],
)
def test_a_label_is_there_once(labels: list[str], message: str) -> None:
    with pytest.raises(TextError, match=message):
        check_labels(labels)
    assert check_texts(labels) == tuple(labels)


def test_labels_may_be_too_many() -> None:
    assert len(check_labels(["a", "b"], at_most=2)) == 2
    with pytest.raises(TextError, match="there are 3 labels; give at most 2"):
        check_labels(["a", "b", "c"], at_most=2)


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
