"""What is forced on every peer, and that each is measured alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.speed.peers import exports

ROOT = Path(__file__).parents[3]


def test_plain_onnx_needs_neither_torch_nor_the_sdk() -> None:
    """Their memory and imports would count as its own."""
    code = """
import sys
from benchmarks.speed.peers.sam_onnx import SamOnnx
SamOnnx()
print({"torch", "samclip_sdk", "segment_anything", "open_clip"} & set(sys.modules))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"


def export(name: str, folder: Path) -> None:
    if name == "fails":
        raise OSError("no space left")
    folder.mkdir()


def test_an_export_is_made_once_and_a_failed_one_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports, "CACHE", tmp_path)
    with pytest.raises(OSError, match="no space left"):
        exports.exported(export, "fails", packages=["numpy"])
    folder = exports.exported(export, "works", packages=["numpy"])
    assert [*tmp_path.iterdir()] == [folder]
    assert folder.name == f"test_peers-works-numpy-{np.__version__}"
    assert exports.exported(export, "works", packages=["numpy"]) == folder
