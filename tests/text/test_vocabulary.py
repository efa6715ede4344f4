"""Vocabulary packs in int8: a quarter of the space, and the same directions."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors
import safetensors.numpy

from samclip_sdk.errors import BundleError
from samclip_sdk.text.vocabulary import encode_vocabulary, read_vocabulary
from tests.fake_source import FakeSource
from tests.refusals import refused


@pytest.mark.parametrize("seed", range(5))
def test_int8_keeps_directions(tmp_path: Path, seed: int) -> None:
    manifest = FakeSource(tmp_path).manifest
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((20, 256)) * 10.0 ** rng.uniform(-1, 1, 256)
    rows[0], rows[1] = np.eye(256)[3], -np.eye(256)[4]
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    labels = [f"label {number}" for number in range(20)]
    sizes = {}
    for dtype in ("float32", "int8"):
        path = tmp_path / f"{dtype}.safetensors"
        path.write_bytes(encode_vocabulary(labels, embeddings=rows, manifest=manifest, dtype=dtype))
        found = read_vocabulary(path, manifest=manifest)
        assert list(found.labels) == labels
        assert np.linalg.norm(found.matrix, axis=1) == pytest.approx(np.ones(20), abs=1e-5)
        cosines = (found.matrix * rows).sum(axis=1)
        assert cosines.min() > (0.999 if dtype == "int8" else 1 - 1e-6)
        sizes[dtype] = path.stat().st_size
    assert sizes["int8"] < 0.3 * sizes["float32"]


def test_a_pack_is_a_safetensors_file(tmp_path: Path) -> None:
    """Whose metadata are strings, so that any reader of the format has all of it."""
    manifest, path = FakeSource(tmp_path).manifest, tmp_path / "pack.safetensors"
    rows = np.eye(2, 256, dtype=np.float32)
    path.write_bytes(encode_vocabulary(["a", "é"], embeddings=rows, manifest=manifest))
    with safetensors.safe_open(path, framework="numpy") as file:
        assert file.metadata() == {
            "format": "samclip labels",
            "schema_version": "2",
            "model": manifest.name,
            "revision": manifest.revision,
            "labels": '["a", "é"]',
        }
        np.testing.assert_array_equal(file.get_tensor("embeddings"), rows)


def test_the_same_labels_make_the_same_file(tmp_path: Path) -> None:
    manifest, rows = FakeSource(tmp_path).manifest, np.eye(2, 256, dtype=np.float32)
    made = {encode_vocabulary(["a", "b"], embeddings=rows, manifest=manifest) for _ in range(20)}
    assert len(made) == 1


def test_what_could_not_be_read_again_is_not_written(tmp_path: Path) -> None:
    manifest = FakeSource(tmp_path).manifest
    rows = np.ones((1, 256), np.float32)
    refused(lambda: encode_vocabulary(["a"], embeddings=rows, manifest=manifest), ValueError, "16")


def pack(folder: Path) -> bytes:
    """A pack of two labels in float32."""
    rows = np.eye(2, 256, dtype=np.float32)
    return encode_vocabulary(["a", "b"], embeddings=rows, manifest=FakeSource(folder).manifest)


def with_dtype(content: bytes, dtype: str) -> bytes:
    """Not all of them are numpy's, and safetensors would raise what it likes."""
    width = 1 if dtype.startswith("F8") else 2
    header = content[8 : 8 + int.from_bytes(content[:8], "little")]
    body = content[8 + len(header) :]
    shape = f"[2,{len(body) // 2 // width}]".encode()
    header = header.replace(b'"F32"', f'"{dtype}"'.encode()).replace(b"[2, 256]", shape)
    return len(header).to_bytes(8, "little") + header + body


def with_parts(content: bytes, *, rows: np.ndarray | None = None, **metadata: str) -> bytes:
    """A pack with other content."""
    length = int.from_bytes(content[:8], "little")
    known = json.loads(content[8 : 8 + length])["__metadata__"]
    stored = safetensors.numpy.load(content)["embeddings"] if rows is None else rows
    return safetensors.numpy.save({"embeddings": stored}, metadata=known | metadata)


def equal(value: float, *, count: int = 2) -> np.ndarray:
    """Embeddings of equal numbers; with 1 / 16 they are of unit length."""
    return np.full((count, 256), value, dtype=np.float32)


NO_PACK = "not a vocabulary pack"
DAMAGES: list[tuple[Callable[[bytes], bytes], str]] = [
    *((lambda _, content=content: content, NO_PACK) for content in (b"", b"{}", b"\xff" * 100)),
    (lambda content: with_parts(content, schema_version="3"), NO_PACK),
    (lambda content: with_parts(content, schema_version="1"), "save it again"),
    (lambda content: with_parts(content, read_as="[null]"), "read_as has 1 for 2 labels"),
    (lambda content: with_parts(content, read_as='["hat", null]'), "hat"),
    (lambda content: with_parts(content, more="1"), NO_PACK),
    (lambda content: with_parts(content, labels="dog"), "JSON"),
    (lambda content: with_parts(content, labels="[]"), "at least 1"),
    (lambda content: with_parts(content, labels='["dog"]'), "[2, 256]"),
    (lambda content: with_parts(content, labels='["dog", "a\\u0000"]'), "NUL"),
    (lambda content: with_parts(content, labels='["dog", "Dog"]'), "'Dog'"),
    (lambda content: with_parts(content, rows=equal(1 / 16).astype(np.float16)), "F16"),
    (lambda content: with_parts(content, rows=equal(1 / 16)[0]), "[256]"),
    (lambda content: with_parts(content, rows=equal(np.nan)), "length nan"),
    (lambda content: with_parts(content, rows=equal(np.inf)), "length inf"),
    (lambda content: with_parts(content, rows=equal(0)), "length 0"),
    (lambda content: with_parts(content, rows=equal(1.01 / 16)), "length 1.01"),
    # A NaN that signals: converting one makes numpy warn.
    (lambda content: content[:-4] + (0x7F80_0001).to_bytes(4, "little"), "length nan"),
    # Pydantic would keep a kilobyte of each of them: of two million, gigabytes.
    *(
        (
            lambda content, wrong=wrong: with_parts(
                content, rows=equal(1 / 16, count=1001), labels=f'["a",{",".join([wrong] * 1000)}]'
            ),
            "label 1",
        )
        for wrong in ("0", "null", "[]", '{"a":"b"}', "[[[]]]")
    ),
    # Old versions of safetensors know fewer dtypes.
    *(
        (lambda content, dtype=dtype: with_dtype(content, dtype), "other.safetensors")
        for dtype in ("F8_E4M3", "BF16", "F16", "I16")
    ),
]


@pytest.mark.parametrize(("damage", "word"), DAMAGES)
def test_a_damaged_pack_is_refused(
    tmp_path: Path, damage: Callable[[bytes], bytes], word: str
) -> None:
    manifest, path = FakeSource(tmp_path).manifest, tmp_path / "other.safetensors"
    path.write_bytes(damage(pack(tmp_path)))
    refused(lambda: read_vocabulary(path, manifest=manifest), BundleError, word)


def test_a_device_is_no_pack(tmp_path: Path) -> None:
    manifest = FakeSource(tmp_path).manifest
    refused(lambda: read_vocabulary("/dev/null", manifest=manifest), BundleError, "/dev/null")


def test_a_header_beyond_all_measure_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest, path = FakeSource(tmp_path).manifest, tmp_path / "other.safetensors"
    path.write_bytes(with_parts(pack(tmp_path), labels=f'["{"x" * (16 << 20)}"]'))
    monkeypatch.setattr(safetensors, "safe_open", lambda *_, **__: pytest.fail("it is opened"))
    refused(lambda: read_vocabulary(path, manifest=manifest), BundleError, "16777216")
