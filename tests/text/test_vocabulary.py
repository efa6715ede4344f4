"""Vocabulary packs in int8: a quarter of the space, and the same directions."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from samclip_sdk import BundleError
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
        path = tmp_path / f"{dtype}.json"
        path.write_bytes(
            encode_vocabulary(labels, embeddings=rows, manifest=manifest, dtype=dtype)  # type: ignore[arg-type]
        )
        found = read_vocabulary(path, manifest=manifest)
        assert list(found.labels) == labels
        assert np.linalg.norm(found.matrix, axis=1) == pytest.approx(np.ones(20), abs=1e-5)
        cosines = (found.matrix * rows).sum(axis=1)
        assert cosines.min() > (0.999 if dtype == "int8" else 1 - 1e-6)
        sizes[dtype] = len(json.loads(path.read_text())["embeddings"])
    assert sizes["int8"] < 0.26 * sizes["float32"]


def test_a_pack_without_a_dtype_is_float32(tmp_path: Path) -> None:
    manifest, path = FakeSource(tmp_path).manifest, tmp_path / "old.json"
    rows = np.eye(2, 256, dtype=np.float32)
    content = json.loads(encode_vocabulary(["a", "b"], embeddings=rows, manifest=manifest))
    del content["dtype"]
    path.write_text(json.dumps(content))
    np.testing.assert_array_equal(read_vocabulary(path, manifest=manifest).matrix, rows)


def test_int8_of_another_size_is_refused(tmp_path: Path) -> None:
    manifest, path = FakeSource(tmp_path).manifest, tmp_path / "pack.json"
    rows = np.eye(2, 256, dtype=np.float32)
    content = json.loads(encode_vocabulary(["a", "b"], embeddings=rows, manifest=manifest))
    path.write_text(json.dumps({**content, "dtype": "int8"}))
    with pytest.raises(BundleError, match="2048 bytes, expected 512"):
        read_vocabulary(path, manifest=manifest)
