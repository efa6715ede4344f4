"""What systems say of themselves, as recorded, and as this machine says it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from benchmarks.speed import machine as device

X86 = """\
processor\t: 0
model name\t: Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz
flags\t\t: fpu sse2 fma avx2 avx512f avx512_vnni avx512_bf16 amx_bf16 amx_tile amx_int8

processor\t: 1
model name\t: Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz
"""
ARM = """\
processor\t: 0
BogoMIPS\t: 62.50
Features\t: fp asimd evtstrm aes fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp
CPU implementer\t: 0x41
CPU part\t: 0xd42
"""
GPUS = "NVIDIA H100 80GB HBM3, 550.54.15, 81559 MiB, 1980 MHz, 700.00 W"
TEGRASTATS = (
    "RAM 2161/7620MB cpu@55.093C VDD_IN 7256mW/7100mW\\n"
    "RAM 2162/7620MB cpu@55.093C VDD_IN 7256mW/7100mW\\n"
)


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of programs that are the only ones there are."""
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def add(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f"#!{shutil.which('sh', path='/bin:/usr/bin')}\n{script}\n", encoding="utf-8")
    path.chmod(0o755)


def test_cpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flags = {
        X86: {
            *("fma", "avx2", "avx512f", "avx512_vnni", "avx512_bf16"),
            *("amx_bf16", "amx_tile", "amx_int8"),
        },
        ARM: {"asimd", "asimdhp", "asimddp"},
        "": set(),
    }
    for text, expected in flags.items():
        monkeypatch.setattr(device, "_ask", lambda source, text=text: text)
        assert set(device.describe_device()["cpu_flags"]) == expected


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


def test_a_program_that_goes_on_is_ended(programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "_PATIENCE_S", 0.3)
    add(programs, "tegrastats", f"printf '{TEGRASTATS}'; exec /bin/sleep 20")
    line = "RAM 2161/7620MB cpu@55.093C VDD_IN 7256mW/7100mW"
    assert device.describe_state()["power"] == line


def test_this_machine(programs: Path) -> None:
    found = device.describe_device()
    assert found["memory_bytes"] > 2**28
    assert found["usable_cores"] >= 1
    # Nothing is made up where no program answers.
    assert list(device.describe_state()) == ["load_average"]
