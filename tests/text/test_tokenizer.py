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
    return Tokenizer(tokenizer_path)


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
    with pytest.raises(BundleError, match="pad and truncate"):
        Tokenizer(path)


@pytest.mark.parametrize("content", [None, "", "{}", "[1"])
def test_refuses_a_damaged_file(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "tokenizer.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(BundleError, match="cannot be read"):
        Tokenizer(path)


def test_refuses_a_file_without_a_token_for_the_unknown(tmp_path: Path) -> None:
    """It loads: what is missing shows at a text."""
    model = tokenizers.models.WordLevel({"dog": 0, "a": 1}, unk_token="?")
    broken = tokenizers.Tokenizer(model)
    broken.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    broken.enable_truncation(8)
    broken.enable_padding(length=8)
    path = tmp_path / "tokenizer.json"
    broken.save(str(path))
    tokenizer = Tokenizer(path)
    assert tokenizer(["a dog"]).shape == (1, 8)
    with pytest.raises(BundleError, match=r"tokenizer\.json cannot read 'a cat': .*UNK"):
        tokenizer(["a cat"])


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
