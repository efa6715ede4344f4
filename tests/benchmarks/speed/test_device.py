"""What programs say of the machine, and its peak."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from benchmarks.speed import machine


def add(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f"#!{shutil.which('sh', path='/bin:/usr/bin')}\n{script}\n", encoding="utf-8")
    path.chmod(0o755)


def test_what_programs_tell_is_kept_in_their_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    add(tmp_path, "nvpmodel", "printf 'NV Power Mode: 15W\\n0\\n'")
    add(tmp_path, "pmset", "exit 1")
    found = machine.describe_device()
    assert found["power_mode"] == "NV Power Mode: 15W 0"
    assert not {"power_source", "gpus"} & set(found)


def test_the_machine_has_a_peak() -> None:
    assert machine.fp32_gflops([16], runs=1) > 0
