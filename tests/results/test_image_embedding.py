from __future__ import annotations

import copy
import io
import pickle
import tracemalloc
import zipfile
from collections.abc import Callable
from dataclasses import astuple, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from samclip_sdk.errors import StorageError
from samclip_sdk.picture.frame import Frame
from samclip_sdk.results.image_embedding import ImageEmbedding, PreparedImage

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
    ("name", "value", "said"),
    [
        ("image_tokens", np.zeros((1, 3, 4, 5), np.float32), r"\[1, any, 4, 4\]"),
        ("image_embeddings", np.zeros((1, 3, 5, 5), np.float32), r"\[1, any, 4, 4\]"),
        ("frame", Frame.fit(HEIGHT, WIDTH, resolution=63), "63 px have no grid of 4 x 4"),
    ],
)
def test_parts_that_do_not_fit_are_named(name: str, value: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        replace(embedding(), **{name: value})
    with pytest.raises(ValueError, match=r"square must be uint8 \[1, 3, 64, 64\]"):
        replace(prepared(), square=np.zeros((1, 3, 64, 63), np.uint8))


def test_they_print_one_short_line() -> None:
    said = "ImageEmbedding(80 x 60 at 64 px, grid 4 x 4; 0123456789abcdef; 3.0 ms)"
    assert repr(embedding()) == said
    assert repr(replace(embedding(), speed={})) == said.replace("; 3.0 ms", "")
    assert repr(prepared()) == "PreparedImage(80 x 60 at 64 px)"


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


def test_an_embedding_is_saved_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(StorageError, match=r"must end in \.npz"):
        embedding().save(tmp_path / "a.png")
    for path in (None, 5):
        with pytest.raises(StorageError, match="a file's path is text or a Path, not"):
            embedding().save(path)  # type: ignore[arg-type]

    def refuse(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", refuse)
    with pytest.raises(StorageError, match="No space left on device"):
        embedding().save(tmp_path / "a.npz")
    assert list(tmp_path.iterdir()) == []


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


def edited(path: Path, **changes: object) -> Path:
    """A saved embedding with other arrays."""
    embedding().save(path)
    np.savez(path, **arrays_of(path) | changes)
    return path


def test_nothing_expands_before_it_is_refused(tmp_path: Path) -> None:
    """A thousandth of what was compressed could take all memory."""
    path = tmp_path / "a.npz"
    embedding().save(path)
    content = arrays_of(path) | {"image_tokens": np.zeros((1, 1, 3000, 3000), np.float32)}
    np.savez_compressed(path, **content)
    tracemalloc.start()
    try:
        with pytest.raises(StorageError, match=r"a\.npz is not a saved image embedding"):
            ImageEmbedding.load(path)
        assert tracemalloc.get_traced_memory()[1] < 3_000_000
    finally:
        tracemalloc.stop()


FRAME = np.array(astuple(embedding().frame))
TOKENS = embedding().image_tokens


@pytest.mark.parametrize(
    "changes",
    [
        {"image_tokens": np.full_like(TOKENS, np.nan)},
        {"image_embeddings": np.full_like(TOKENS, -np.inf)},
        {"image_tokens": TOKENS[..., :3, :3], "image_embeddings": TOKENS[..., :3, :3]},
        {"image_tokens": TOKENS[..., :0, :0], "image_embeddings": TOKENS[..., :0, :0]},
        {"image_tokens": TOKENS.astype(np.complex64)},
        {"frame": FRAME + 0.5},
        {"frame": FRAME[:4]},
        {"frame": -FRAME},
        {"frame": np.array([HEIGHT, WIDTH, 64, 64, 48])},  # as of an upright picture
        {"frame": np.array(astuple(Frame.fit(2**40, 2**40, resolution=64)))},
    ],
)
def test_an_embedding_that_cannot_be_is_refused_when_it_is_loaded(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    path = edited(tmp_path / "a.npz", **changes)
    with pytest.raises(StorageError, match=r"a\.npz is not a saved image embedding"):
        ImageEmbedding.load(path)


@pytest.mark.parametrize("path", ["a\0b.npz", "\ud800.npz", "x" * 5000 + ".npz", "loop.npz", 7])
def test_paths_that_cannot_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: Any) -> None:
    monkeypatch.chdir(tmp_path)
    Path("loop.npz").symlink_to("loop.npz")
    with pytest.raises(StorageError) as caught:
        ImageEmbedding.load(path)
    assert str(caught.value).isprintable()
    if isinstance(path, str):
        with pytest.raises(StorageError, match="cannot write"):
            embedding().save(path)


def test_what_is_no_embedding_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    with pytest.raises(StorageError, match="no such file"):
        ImageEmbedding.load(path)
    embedding().save(path)
    whole = path.read_bytes()
    np.save(tmp_path / "array.npy", np.zeros(3))
    np.savez(tmp_path / "objects.npz", image_tokens=np.array([{}], dtype=object))
    np.savez(tmp_path / "other.npz", masks=np.zeros(3))
    np.savez_compressed(tmp_path / "compressed.npz", **arrays_of(path))
    contents = [b"", b"hello", whole[:200], whole[: len(whole) // 2], damaged_lzma(path)]
    contents += [each.read_bytes() for each in tmp_path.iterdir() if each != path]
    for content in contents:
        path.write_bytes(content)
        with pytest.raises(StorageError, match="is not a saved image embedding"):
            ImageEmbedding.load(path)
