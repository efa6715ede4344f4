"""What a device is made of, from what systems tell."""

from __future__ import annotations

import subprocess
import sys

import pytest

from samclip_sdk.system.hardware import cpu_name, parse_cpu_name, parse_gpu_name

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


def test_this_device_has_a_processor() -> None:
    assert cpu_name()
    if sys.platform == "darwin":
        asked = ["sysctl", "-n", "machdep.cpu.brand_string"]
        assert cpu_name() == subprocess.run(asked, capture_output=True, text=True).stdout.strip()
