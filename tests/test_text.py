from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from export.tokenizer import write_tokenizer
from samclip_sdk.bundle.contract import contract_graphs
from samclip_sdk.errors import BundleError, TextError, TextTruncatedWarning
from samclip_sdk.runtimes.fake import FakeSession
from samclip_sdk.session import Arrays
from samclip_sdk.text import (
    TextEmbedder,
    Tokenizer,
    check_texts,
    clean_text,
    normalize,
    read_templates,
)
from tests.example_bundle import CONFIG

START, END = 49406, 49407
TEMPLATES = ("a photo of a {}.", "a drawing of the {}.")


@pytest.fixture(scope="module")
def tokenizer_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    write_tokenizer(path)
    return path


@pytest.fixture(scope="module")
def tokenizer(tokenizer_path: Path) -> Tokenizer:
    return Tokenizer(tokenizer_path)


def embed(feed: Arrays) -> Arrays:
    """One unit row for each text, from its ids alone."""
    rows = [np.random.default_rng(ids.tolist()).normal(size=24) for ids in feed["input_ids"]]
    return {"text_embeddings": normalize(np.array(rows, dtype=np.float32))}


@pytest.fixture
def session() -> FakeSession:
    return FakeSession(contract_graphs(CONFIG, resolutions=[])["text_encoder"], answer=embed)


@pytest.fixture
def embedder(session: FakeSession, tokenizer: Tokenizer) -> TextEmbedder:
    return TextEmbedder(session, tokenizer=tokenizer, templates=TEMPLATES)


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


def test_label_embeddings(embedder: TextEmbedder, tokenizer: Tokenizer) -> None:
    found = embedder.embed_labels(["dog"])
    prompts = tokenizer(["a photo of a dog.", "a drawing of the dog."])
    mean = np.asarray(embed({"input_ids": prompts})["text_embeddings"]).mean(axis=0)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, [mean / np.linalg.norm(mean)], rtol=1e-6)


def test_text_embeddings_take_no_template(embedder: TextEmbedder, tokenizer: Tokenizer) -> None:
    expected = embed({"input_ids": tokenizer(["a dog", "two cats"])})["text_embeddings"]
    np.testing.assert_array_equal(embedder.embed_texts(["a dog", "two cats"]), expected)


def test_each_label_is_computed_once_and_alone(
    embedder: TextEmbedder, session: FakeSession
) -> None:
    first = embedder.embed_labels(["dog", "cat"])
    assert [len(feed["input_ids"]) for feed in session.feeds] == [2, 2]
    again = embedder.embed_labels(["cat", "bird", "dog"])
    assert len(session.feeds) == 3
    np.testing.assert_array_equal(again[[2, 0]], first)


def test_what_a_caller_writes_does_not_reach_the_cache(embedder: TextEmbedder) -> None:
    first = embedder.embed_texts(["dog"])
    expected = first.copy()
    first[:] = 0
    np.testing.assert_array_equal(embedder.embed_texts(["dog"]), expected)


def test_a_long_label_warns_once(embedder: TextEmbedder) -> None:
    with pytest.warns(TextTruncatedWarning) as caught:
        embedder.embed_labels(["dog " * 100])
    assert len(caught) == 1


@pytest.mark.parametrize("texts", [[], [""], ["dog", " \n"], ["&nbsp;"], [None], [b"dog"]])
def test_refuses(embedder: TextEmbedder, texts: list[Any]) -> None:
    for method in (embedder.embed_texts, embedder.embed_labels):
        with pytest.raises(TextError):
            method(texts)


def test_one_string_is_one_text() -> None:
    assert check_texts("a dog") == ("a dog",)
