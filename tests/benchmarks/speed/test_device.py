"""What systems say of themselves, as recorded, and as this machine says it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from benchmarks.speed import machine as device

GPUS = "NVIDIA H100 80GB HBM3, 550.54.15, 81559 MiB, 1980 MHz, 700.00 W"


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of programs that are the only ones there are."""
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def add(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f"#!{shutil.which('sh', path='/bin:/usr/bin')}\n{script}\n", encoding="utf-8")
    path.chmod(0o755)


def test_what_programs_tell_is_kept_in_their_words(programs: Path) -> None:
    script = f"case $1 in *name*) echo '{GPUS}';; *) echo '345 MHz, 68.17 W';; esac"
    add(programs, "nvidia-smi", script)
    add(programs, "nvpmodel", "printf 'NV Power Mode: 15W\\n0\\n'")
    add(programs, "pmset", "exit 1")
    found, state = device.describe_device(), device.describe_state()
    assert found["gpus"] == GPUS
    assert found["power_mode"] == "NV Power Mode: 15W 0"
    assert "power_source" not in found
    del state["load_average"]
    assert state == {"gpus": "345 MHz, 68.17 W"}


def test_nothing_is_made_up(programs: Path) -> None:
    assert list(device.describe_state()) == ["load_average"]
    assert device.fp32_gflops([16], runs=1) > 0
