from __future__ import annotations

import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from samclip_sdk.bundle.contract import contract_graphs
from samclip_sdk.bundle.graph_spec import GraphSpec
from samclip_sdk.engine.texts import TextEmbedder
from samclip_sdk.errors import TextTruncatedWarning
from samclip_sdk.runtimes.session import Arrays
from samclip_sdk.system.timing import Stopwatch
from samclip_sdk.text.stored_labels import StoredLabels
from samclip_sdk.text.tokenizer import Tokenizer
from samclip_sdk.text.unit_length import normalize
from tests.example_bundle import CONFIG
from tests.fake_session import FakeSession

TEMPLATES = ("a photo of a {}.", "a drawing of the {} in the snow.", "{}")
EMBED_DIM, CONTEXT = 24, 77


@pytest.fixture(scope="module")
def tokenizer(tokenizer_path: Path) -> Tokenizer:
    return Tokenizer(tokenizer_path, context_length=CONTEXT)


def embed(feed: Arrays) -> Arrays:
    """One unit row for each text, from its ids up to the end-of-text token alone."""
    rows = [
        np.random.default_rng(ids[: ids.argmax() + 1].tolist()).normal(size=EMBED_DIM)
        for ids in feed["input_ids"]
    ]
    return {"text_embeddings": normalize(np.array(rows, dtype=np.float32))}


def text_encoder(length: int | str) -> FakeSession:
    """A session whose input is so long, or as long as what it is fed with."""
    spec = contract_graphs(CONFIG, resolutions=[])["text_encoder"]
    (ids,) = spec.inputs
    ids = ids.model_copy(update={"shape": (ids.shape[0], length)})
    return FakeSession(GraphSpec(inputs=(ids,), outputs=spec.outputs), answer=embed)


@pytest.fixture
def session() -> FakeSession:
    return text_encoder(CONTEXT)


@pytest.fixture
def make(tokenizer_path: Path) -> Callable[..., TextEmbedder]:
    def make(session: FakeSession, stored: StoredLabels | None = None) -> TextEmbedder:
        return TextEmbedder(
            lambda: session,
            tokenizer=lambda: Tokenizer(tokenizer_path, context_length=CONTEXT),
            templates=TEMPLATES,
            stored=stored,
        )

    return make


@pytest.fixture
def embedder(make: Callable[..., TextEmbedder], session: FakeSession) -> TextEmbedder:
    return make(session)


def labels(embedder: TextEmbedder, *names: str) -> np.ndarray:
    return embedder.own_embeddings(names, clock=Stopwatch())


def texts(embedder: TextEmbedder, *names: str) -> np.ndarray:
    return embedder.embed_texts(names, clock=Stopwatch())


def test_label_embeddings(embedder: TextEmbedder, tokenizer: Tokenizer) -> None:
    found = labels(embedder, "dog")
    prompts = tokenizer(["a photo of a dog.", "a drawing of the dog in the snow.", "dog"])
    mean = np.asarray(embed({"input_ids": prompts})["text_embeddings"]).mean(axis=0)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, [mean / np.linalg.norm(mean)], rtol=1e-6)


def test_each_label_is_computed_once_and_alone(
    embedder: TextEmbedder, session: FakeSession
) -> None:
    first = labels(embedder, "dog", "cat")
    assert [len(feed["input_ids"]) for feed in session.feeds] == [3, 3]
    again = labels(embedder, "cat", "bird", " Dog")  # CLIP's cleaning makes it the same one
    assert len(session.feeds) == 3
    np.testing.assert_array_equal(again[[2, 0]], first)


def test_what_a_caller_writes_does_not_reach_the_cache(embedder: TextEmbedder) -> None:
    for embed_one in (texts, labels):
        first = embed_one(embedder, "dog")
        expected = first.copy()
        first[:] = 0
        np.testing.assert_array_equal(embed_one(embedder, "dog"), expected)


def test_a_label_of_a_million_letters_is_cut(embedder: TextEmbedder, session: FakeSession) -> None:
    with pytest.warns(TextTruncatedWarning, match="xxxx.*77 tokens") as told:
        labels(embedder, "x" * 1_000_000)
    assert told[0].filename == __file__
    assert len(session.feeds) == 1
    with pytest.warns(TextTruncatedWarning, match="dog .*77 tokens"):
        spaced = labels(embedder, "dog" + " " * 1_000_000)
    np.testing.assert_array_equal(spaced, labels(embedder, "dog"))


def test_texts_are_trimmed_where_the_graph_takes_any_length(
    make: Callable[..., TextEmbedder], session: FakeSession
) -> None:
    trimming = text_encoder("num_tokens")
    found = labels(make(trimming), "dog", "fire engine")
    np.testing.assert_array_equal(found, labels(make(session), "dog", "fire engine"))
    # Each label by itself, its prompts by length: start, the words, the stop, end.
    shapes = [feed["input_ids"].shape for feed in trimming.feeds]
    assert shapes == [(1, 3), (1, 8), (1, 11), (1, 4), (1, 9), (1, 12)]
    assert {feed["input_ids"].shape for feed in session.feeds} == {(3, CONTEXT)}


def test_a_label_that_was_cut_is_not_stored(
    make: Callable[..., TextEmbedder], session: FakeSession, tmp_path: Path
) -> None:
    for name in ("dog " * 100, "x" * 5000):
        with pytest.warns(TextTruncatedWarning):
            labels(make(session, StoredLabels(["model"], folder=tmp_path)), name)
    assert not list(tmp_path.iterdir())


def test_threads_that_teach_at_once_lose_nothing(embedder: TextEmbedder) -> None:
    names = [f"word {index}" for index in range(400)]

    def teach(name: str) -> None:
        embedder.learn([name], np.ones((1, EMBED_DIM), dtype=np.float32))

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(teach, names))
    finally:
        sys.setswitchinterval(interval)
    assert all(embedder.given_digests(names))
