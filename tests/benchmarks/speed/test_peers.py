"""What is forced on every peer, and that each is measured alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

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


def test_a_failed_export_is_told_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def child(command: list[str], **_options: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 1, stderr="no space left")

    monkeypatch.setattr(exports.subprocess, "run", child)
    monkeypatch.setattr(exports, "CACHE", tmp_path)
    with pytest.raises(RuntimeError, match="of yoloe failed:\nno space left"):
        exports.exported("yoloe", "yoloe-26n-seg", packages=["numpy"])
    assert not list(tmp_path.iterdir())
