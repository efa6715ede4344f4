from __future__ import annotations

import copy
import io
import pickle
import tracemalloc
import zipfile
from collections.abc import Callable
from dataclasses import astuple, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from samclip_sdk.errors import StorageError
from samclip_sdk.image.frame import Frame
from samclip_sdk.results.image_embedding import ImageEmbedding, PreparedImage
from tests.refusals import refused

HEIGHT, WIDTH = 60, 80


def prepared() -> PreparedImage:
    return PreparedImage(
        square=np.zeros((1, 3, 64, 64), np.uint8),
        frame=Frame.fit(HEIGHT, WIDTH, resolution=64),
        bundle_id="0123456789abcdef",
        origin="/somewhere/a.jpg",
    )


def embedding() -> ImageEmbedding:
    generator = np.random.default_rng(0)
    return ImageEmbedding(
        image_tokens=generator.normal(size=(1, 12, 4, 4)).astype(np.float32),
        image_embeddings=generator.normal(size=(1, 8, 4, 4)).astype(np.float32),
        frame=Frame.fit(HEIGHT, WIDTH, resolution=64),
        bundle_id="0123456789abcdef",
        speed={"encode_ms": 3.0},
    )


@pytest.mark.parametrize(
    ("make", "name", "value", "word"),
    [
        (prepared, "square", np.zeros((1, 3, 64, 63), np.uint8), "[1, 3, 64, 64]"),
        (embedding, "image_tokens", np.zeros((1, 3, 4, 5), np.float32), "[1, any, 4, 5]"),
        (embedding, "image_tokens", np.zeros((1, 3, 2, 4), np.float32), "[1, any, 2, 4]"),
        (embedding, "image_embeddings", np.zeros((1, 3, 5, 5), np.float32), "[1, any, 4, 4]"),
        (embedding, "frame", Frame.fit(HEIGHT, WIDTH, resolution=63), "63 px"),
    ],
)
def test_parts_that_do_not_fit_are_named(make: Any, name: str, value: Any, word: str) -> None:
    refused(lambda: replace(make(), **{name: value}), ValueError, word)


@pytest.mark.parametrize("make", [embedding, prepared])
@pytest.mark.parametrize(
    "travel", [copy.copy, copy.deepcopy, lambda each: pickle.loads(pickle.dumps(each))]
)
def test_copies_stay_read_only(make: Callable[[], Any], travel: Callable[[Any], Any]) -> None:
    travelled = travel(make())
    arrays = [each for each in vars(travelled).values() if isinstance(each, np.ndarray)]
    assert arrays
    assert not any(each.flags.writeable for each in arrays)
    assert travelled.origin == make().origin


def test_an_embedding_comes_back_from_its_file(tmp_path: Path) -> None:
    saved = embedding()
    saved.save(tmp_path / "a.npz")
    loaded = ImageEmbedding.load(tmp_path / "a.npz")
    np.testing.assert_array_equal(loaded.image_tokens, saved.image_tokens)
    np.testing.assert_array_equal(loaded.image_embeddings, saved.image_embeddings)
    assert (loaded.frame, loaded.bundle_id) == (saved.frame, saved.bundle_id)


def test_an_embedding_needs_no_padding_but_the_whole_image() -> None:
    """The image is three quarters as high as it is wide."""
    whole = embedding()

    def upper(rows: int) -> ImageEmbedding:
        return replace(whole, **{name: getattr(whole, name)[:, :, :rows] for name in BOTH})

    assert upper(3).cells == (3, 4)
    assert "grid 3 x 4" in repr(upper(3))
    refused(lambda: upper(2), ValueError, "(3, 4)")


def damaged_lzma(path: Path) -> bytes:
    """A saved embedding in the one kind of zip whose damage is no error of zipfile's."""
    packed = io.BytesIO()
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(packed, "w", zipfile.ZIP_LZMA) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    content = bytearray(packed.getvalue())
    content[60:90] = bytes(30)
    return bytes(content)


def arrays_of(path: Path) -> dict[str, Any]:
    with np.load(path) as arrays:
        return dict(arrays)


def test_nothing_expands_before_it_is_refused(tmp_path: Path) -> None:
    """A thousandth of what was compressed could take all memory."""
    path = tmp_path / "a.npz"
    embedding().save(path)
    content = arrays_of(path) | {"image_tokens": np.zeros((1, 1, 3000, 3000), np.float32)}
    np.savez_compressed(path, **content)
    tracemalloc.start()
    try:
        refused(lambda: ImageEmbedding.load(path), StorageError, "a.npz")
        assert tracemalloc.get_traced_memory()[1] < 3_000_000
    finally:
        tracemalloc.stop()


FRAME = np.array(astuple(embedding().frame))
TOKENS = embedding().image_tokens
BOTH = ("image_tokens", "image_embeddings")
WRONG: list[dict[str, Any]] = [
    {"image_tokens": np.full_like(TOKENS, np.nan)},
    {"image_embeddings": np.full_like(TOKENS, -np.inf)},
    *(dict.fromkeys(BOTH, TOKENS[..., :side, :side]) for side in (3, 0)),
    {"image_tokens": TOKENS.astype(np.complex64)},
    {"frame": FRAME + 0.5},
    {"frame": FRAME[:4]},
    {"frame": -FRAME},
    {"frame": np.array([HEIGHT, WIDTH, 64, 64, 48])},  # as of an upright image
    {"frame": np.array(astuple(Frame.fit(2**40, 2**40, resolution=64)))},
]


def test_what_is_no_embedding_is_refused(tmp_path: Path) -> None:
    path, other = tmp_path / "a.npz", tmp_path / "other.npz"
    refused(lambda: ImageEmbedding.load(path), StorageError, "a.npz")
    embedding().save(path)
    whole, arrays = path.read_bytes(), arrays_of(path)
    contents = [b"", b"hello", whole[:200], whole[: len(whole) // 2], damaged_lzma(path)]
    for changes in WRONG:
        np.savez(other, **arrays | changes)
        contents.append(other.read_bytes())
    np.savez(other, image_tokens=np.array([{}], dtype=object))
    contents.append(other.read_bytes())
    np.savez_compressed(other, **arrays)
    contents.append(other.read_bytes())
    for content in contents:
        path.write_bytes(content)
        refused(lambda: ImageEmbedding.load(path), StorageError, "a.npz is not a saved")


@pytest.mark.parametrize(
    "path", ["a\0b.npz", "\ud800.npz", "x" * 5000 + ".npz", "loop.npz", 7, None, "a.png"]
)
def test_paths_that_cannot_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: Any) -> None:
    monkeypatch.chdir(tmp_path)
    Path("loop.npz").symlink_to("loop.npz")
    for call in (ImageEmbedding.load, embedding().save):
        assert str(refused(partial(call, path), StorageError)).isprintable()
