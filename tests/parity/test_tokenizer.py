"""Token ids against open_clip's SimpleTokenizer, and transformers' with MiniLM's vocabulary."""

from __future__ import annotations

import unicodedata
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from open_clip.tokenizer import SimpleTokenizer
from tokenizers import Tokenizer as RawTokenizer
from transformers import AutoTokenizer

from export.tokenizer import golden_texts, write_tokenizer
from samclip_sdk.errors import TextTruncatedWarning
from samclip_sdk.modeling.config import BertTextConfig, ClipTextConfig
from samclip_sdk.text.tokenizer import Tokenizer, clean_text, read_templates
from training.text.sentences import sentence_folder

TEXTS = [
    "",
    " ",
    "a",
    "A Photo of a DOG.",
    "tabs\tand\nlines\u00a0and  spaces\u3000",
    "café naïve Zürich Ångström résumé",
    "cafe\u0301 decomposed",
    "İstanbul ΑΣ ß ſ ǅ",
    "1 22 333 4444 3.14159 1,000,000 2024-12-31 ½ ² Ⅷ ٣",
    "it's I'm we've you're they'll he'd don't 'tis IT'S",
    "it’s “quoted” ‘single’ – dash — em… „low“ «guillemets»",
    "fish &amp; chips &lt;b&gt; &#39;x&#39; &amp;lt;twice&amp;gt; &eacute;",
    "schÃ¶n â€œmojibakeâ€",
    "🐶🐱 a dog 🏳️‍🌈 👩🏽‍🚀 👨‍👩‍👧‍👦 🇩🇪 ✈️ ❤",
    "日本語のテキスト 中文 한국어 العربية עברית हिन्दी ไทย русский",
    "snake_case kebab-case camelCase http://a.b/c?d=e&f=g user@example.com #tag $5 100%",
    "!!!???...---***(((",
    "zero\u200bwidth\u200djoin \ufeff bom \u00ad soft",
    "ﬁne ﬂow Ⓐ ｆｕｌｌ",
    "iota \u0345 subscript a\u0345b",
    "control \x00\x07\x1b[31m chars\x7f\x85",
    "<start_of_text> a dog <end_of_text> more",
    "\ud800 lone surrogate",
    "supercalifragilisticexpialidocious " * 3,
    "dog " * 75,
    "dog " * 76,
    "a very long text, " * 600,
    "é" * 200,
]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    write_tokenizer(path)
    return path


@pytest.fixture(scope="module")
def tokenizer(path: Path) -> Tokenizer:
    return Tokenizer(path, context_length=77)


@pytest.fixture(scope="module")
def reference() -> SimpleTokenizer:
    return SimpleTokenizer()


def ids_of_bert(texts: list[str], *, length: int) -> Any:
    """Those of transformers, for a length of the context."""
    bert = AutoTokenizer.from_pretrained(str(sentence_folder()))
    cleaned = [clean_text(text) for text in texts]
    return bert(cleaned, truncation=True, max_length=length, padding="max_length")["input_ids"]


def differing(
    texts: list[str], *, tokenizer: Tokenizer, reference: Callable[[list[str]], Any]
) -> list[str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TextTruncatedWarning)
        ids = tokenizer(texts)
    expected = np.asarray(reference(texts))
    return [
        text for text, same in zip(texts, (ids == expected).all(axis=1), strict=True) if not same
    ]


def test_the_package_holds_the_same(path: Path, tokenizer_path: Path) -> None:
    """For checkpoints without one."""
    assert path.read_bytes() == tokenizer_path.read_bytes()


def test_texts(tokenizer: Tokenizer, reference: SimpleTokenizer) -> None:
    assert differing(TEXTS, tokenizer=tokenizer, reference=reference) == []


def test_texts_of_bert(tmp_path: Path) -> None:
    tokenizer = write_tokenizer(tmp_path / "tokenizer.json", BertTextConfig())
    texts = [*TEXTS, "[CLS] a [MASK] dog [SEP] more [PAD] [UNK]"]
    reference = partial(ids_of_bert, length=24)
    assert differing(texts, tokenizer=tokenizer, reference=reference) == []


@pytest.mark.parametrize("length", [24, 1000])
def test_the_goldens_of_bert_are_transformers(length: int) -> None:
    goldens = golden_texts(BertTextConfig(context_length=length))
    every = ids_of_bert([golden.text for golden in goldens], length=length)
    for golden, expected in zip(goldens, every, strict=True):
        count = len(golden.input_ids)
        assert golden.input_ids == tuple(expected[:count])
        assert not any(expected[count:])


def test_templates(tokenizer: Tokenizer, reference: SimpleTokenizer) -> None:
    texts = [template.replace("{}", "traffic light") for template in read_templates()]
    assert differing(texts, tokenizer=tokenizer, reference=reference) == []


def test_the_bundles_goldens_are_open_clips(reference: SimpleTokenizer) -> None:
    for golden in golden_texts(ClipTextConfig()):
        expected = reference([golden.text])[0].numpy()
        assert golden.input_ids == tuple(expected[: len(golden.input_ids)])
        assert not expected[len(golden.input_ids) :].any()


def test_every_character(tokenizer: Tokenizer, reference: SimpleTokenizer) -> None:
    """All that Unicode 3.2 assigns but CJK ideographs and Hangul, of which every 50th.

    Python, `regex` and `tokenizers` each bring their own Unicode version; the old one is common.
    """
    assigned = [
        chr(code)
        for code in range(0x110000)
        if unicodedata.ucd_3_2_0.category(chr(code)) not in ("Cn", "Co", "Cs")
    ]
    dense = [c for c in assigned if "\u3400" <= c <= "\ud7a3" or c > "\U0001ffff"]
    characters = sorted(set(assigned) - set(dense)) + dense[::50]
    texts = [f"a{character}'{character}1{character}" for character in characters]
    assert len(texts) > 13_000
    assert differing(texts, tokenizer=tokenizer, reference=reference) == []


def test_random_texts(tokenizer: Tokenizer, reference: SimpleTokenizer) -> None:
    """Runs of characters that the pattern, the cleaning or the merges tell apart."""

    @given(
        st.text(alphabet="aAbzé'’s1²٣!-_&;<>.,# \n\u00a0\u200d\u0301\u0345🐶❤日ßſİΣ", max_size=60)
    )
    def check(text: str) -> None:
        assert differing([text], tokenizer=tokenizer, reference=reference) == []

    check()


def test_the_file_alone_equals_open_clip_on_clean_text(
    path: Path, reference: SimpleTokenizer
) -> None:
    """What an app in another language gets: padding, truncation, start and end are in the file."""
    raw = RawTokenizer.from_file(str(path))
    for text in ("A photo of a DOG, 42 cats!", "dog " * 100):
        np.testing.assert_array_equal(raw.encode(text).ids, reference([text])[0].numpy())
