"""What a device is made of, from what systems tell."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from samclip_sdk.system.hardware import cpu_name, parse_cpu_name, parse_gpu_name, usable_cores

X86 = "processor\t: 0\nmodel\t\t: 207\nmodel name\t: Intel(R) Xeon(R)\n"
RASPBERRY = (
    "processor\t: 0\nFeatures\t: fp asimd\n\nRevision\t: c03115\nModel\t\t: Raspberry Pi 4\n"
)
ARM = "processor\t: 0\nFeatures\t: fp asimd\nCPU part\t: 0xd40\n"
DRIVER = "Model: \t\t NVIDIA H100 80GB HBM3\nIRQ:   \t\t 33\nGPU UUID: \t GPU-1\n"


@pytest.mark.parametrize(
    ("text", "name"),
    [(X86, "Intel(R) Xeon(R)"), (RASPBERRY, "Raspberry Pi 4"), (ARM, ""), ("", "")],
)
def test_a_processor(text: str, name: str) -> None:
    assert parse_cpu_name(text) == name


@pytest.mark.parametrize(("text", "name"), [(DRIVER, "NVIDIA H100 80GB HBM3"), ("", "")])
def test_a_gpu(text: str, name: str) -> None:
    assert parse_gpu_name(text) == name


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, 8.0),
        ({"cpu.max": "max 100000\n"}, 8.0),
        ({"cpu.max": "150000 100000\n"}, 1.5),
        ({"cpu.max": "3200000 100000\n"}, 8.0),
        ({"cpu/cpu.cfs_quota_us": "50000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 0.5),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 8.0),
        ({"cpu.max": "one two\n"}, 8.0),
    ],
)
def test_a_quota_leaves_fewer_cores(
    files: dict[str, str], cores: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    for name, content in files.items():
        path = tmp_path / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    assert usable_cores(tmp_path) == cores


def test_this_device_has_a_processor() -> None:
    assert cpu_name()
    if sys.platform == "darwin":
        asked = ["sysctl", "-n", "machdep.cpu.brand_string"]
        assert cpu_name() == subprocess.run(asked, capture_output=True, text=True).stdout.strip()
