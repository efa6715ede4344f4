"""Vocabulary packs in int8: a quarter of the space, and the same directions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import safetensors
import safetensors.numpy

from samclip_sdk.errors import BundleError, TextError
from samclip_sdk.text.vocabulary import encode_vocabulary, read_vocabulary
from tests.fake_source import FakeSource


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
        path.write_bytes(
            encode_vocabulary(labels, embeddings=rows, manifest=manifest, dtype=dtype)  # type: ignore[arg-type]
        )
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
            "schema_version": "1",
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
    with pytest.raises(ValueError, match="must be 1"):
        encode_vocabulary(["a"], embeddings=np.ones((1, 256), np.float32), manifest=manifest)


@pytest.mark.parametrize("dtype", ["F8_E4M3", "BF16", "F16", "I16"])
def test_other_dtypes(tmp_path: Path, dtype: str) -> None:
    """Not all of them are numpy's, and safetensors would raise what it likes."""
    width = 1 if dtype.startswith("F8") else 2
    content = pack(tmp_path)
    header = content[8 : 8 + int.from_bytes(content[:8], "little")]
    body = content[8 + len(header) :]
    shape = f"[2,{len(body) // 2 // width}]".encode()
    header = header.replace(b'"F32"', f'"{dtype}"'.encode()).replace(b"[2, 256]", shape)
    path = tmp_path / "other.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + body)
    # Old versions of safetensors know fewer dtypes.
    told = f"embeddings are {dtype}, expected float32 or int8|is not a vocabulary pack"
    with pytest.raises(BundleError, match=told):
        read_vocabulary(path, manifest=FakeSource(tmp_path).manifest)


def test_a_nan_that_signals(tmp_path: Path) -> None:
    """Converting one makes numpy warn."""
    content = bytearray(pack(tmp_path))
    content[-4:] = (0x7F80_0001).to_bytes(4, "little")
    path = tmp_path / "nan.safetensors"
    path.write_bytes(content)
    with pytest.raises(BundleError, match="label 1 has the length nan"):
        read_vocabulary(path, manifest=FakeSource(tmp_path).manifest)


@pytest.mark.skipif(not Path("/dev/null").exists(), reason="there are no devices in folders here")
def test_a_device_is_no_pack(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="/dev/null is not a vocabulary pack"):
        read_vocabulary("/dev/null", manifest=FakeSource(tmp_path).manifest)


def pack(folder: Path) -> bytes:
    """A pack of two labels in float32."""
    rows = np.eye(2, 256, dtype=np.float32)
    manifest = FakeSource(folder).manifest
    return encode_vocabulary(["a", "b"], embeddings=rows, manifest=manifest)


def with_labels(folder: Path, labels: str) -> Path:
    """A pack whose labels are this JSON, with as many embeddings."""
    rows = np.tile(np.eye(1, 4, dtype=np.float32), (labels.count(",") + 1, 1))
    path = folder / "labels.safetensors"
    metadata = {"format": "samclip labels", "schema_version": "1", "model": "x", "revision": "1"}
    content = safetensors.numpy.save({"embeddings": rows}, metadata={**metadata, "labels": labels})
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("wrong", ["0", "null", "[]", '{"a":"b"}', "[[[]]]"])
def test_the_first_label_that_is_no_text_ends_it(tmp_path: Path, wrong: str) -> None:
    """Pydantic would keep a kilobyte of each of them: of two million, gigabytes."""
    path = with_labels(tmp_path, f'["a",{",".join([wrong] * 1000)}]')
    with pytest.raises(BundleError, match="is not a vocabulary pack: text 1 is a") as caught:
        read_vocabulary(path, manifest=FakeSource(tmp_path).manifest)
    assert isinstance(caught.value.__cause__, TextError)


def test_a_header_beyond_all_measure_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = with_labels(tmp_path, f'["{"x" * (16 << 20)}"]')
    monkeypatch.setattr(safetensors, "safe_open", lambda *_, **__: pytest.fail("it is opened"))
    with pytest.raises(
        BundleError, match=r"its header has \d+ bytes, and such have 16777216 at most"
    ):
        read_vocabulary(path, manifest=FakeSource(tmp_path).manifest)
