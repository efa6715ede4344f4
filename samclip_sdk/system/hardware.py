"""The names of this device's CPU and GPU, and its cores, as far as the system tells them at once.

No package is used: py-cpuinfo takes over a second a call, too long for the load of a model.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

_PATIENCE_S = 10
_NVIDIA_SMI = ("nvidia-smi", "--query-gpu=name", "--format=csv,noheader")
_CHIP = ("sysctl", "-n", "machdep.cpu.brand_string")


@cache
def cpu_name() -> str:
    """The name of the processor, or of its board, as far as the system tells."""
    return (
        parse_cpu_name(read_file(Path("/proc/cpuinfo")))
        or read_file(Path("/proc/device-tree/model")).strip("\0\n ")
        or (ask_program(*_CHIP) if platform.system() == "Darwin" else "")
        or platform.processor()
        or platform.machine()
    )


def parse_cpu_name(cpuinfo: str) -> str:
    """Reads a processor's name, or that of a small board, from the text of /proc/cpuinfo."""
    found = re.search(r"^(?:model name|Model)\s*:\s*(.+)$", cpuinfo, re.MULTILINE)
    return found[1].strip() if found else ""


def usable_cores(root: Path = Path("/")) -> float:
    """The cores of the machine, or as many as the quota of a container allows in time.

    Args:
        root: where the system's files are.
    """
    cores = float(os.cpu_count() or 0)
    groups = root / "sys/fs/cgroup"
    v1 = [read_file(groups / f"cpu/cpu.cfs_{name}_us") for name in ("quota", "period")]
    quota = parse_cpu_quota(read_file(groups / "cpu.max") or " ".join(v1))
    return min(cores, quota or cores)


def parse_cpu_quota(text: str) -> float | None:
    """Reads cores from a quota and its period in microseconds; None if there is no quota."""
    numbers = [int(word) for word in text.split() if word.isdecimal()]
    quota, period = numbers if len(numbers) == 2 else (0, 0)
    return round(quota / period, 2) if quota and period else None


@cache
def gpu_name() -> str:
    """The name of the NVIDIA GPU; empty if there is none.

    If GPUs have different names, all of the names, and the value of CUDA_VISIBLE_DEVICES.
    """
    names = sorted({name for name in _gpu_names() if name})
    visible = os.environ.get("CUDA_VISIBLE_DEVICES") if len(names) > 1 else None
    return " or ".join(names) + (f", visible {visible}" if visible else "")


def _gpu_names() -> list[str]:
    drivers = Path("/proc/driver/nvidia/gpus").glob("*/information")
    found = [parse_gpu_name(read_file(path)) for path in drivers]
    if found or "NVIDIA" in read_file(Path("/proc/device-tree/model")):  # a Jetson: the board
        return found or [cpu_name()]
    return ask_program(*_NVIDIA_SMI).splitlines()


def parse_gpu_name(information: str) -> str:
    """Reads a GPU's name from its driver's file in /proc."""
    found = re.search(r"^Model:\s*(.+)$", information, re.MULTILINE)
    return found[1].strip() if found else ""


def read_file(path: Path) -> str:
    """A file's text; empty if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def ask_program(program: str, *arguments: str, patience_s: float = _PATIENCE_S) -> str:
    """The output of a program. After `patience_s` seconds it is stopped, and the first line counts.

    Empty if there is no such program, or it fails.
    """
    path = shutil.which(program)
    if path is None:
        return ""
    try:
        done = subprocess.run(
            [path, *arguments], capture_output=True, timeout=patience_s, check=True
        )
    except subprocess.TimeoutExpired as late:
        return (late.stdout or b"").decode(errors="replace").partition("\n")[0]
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.decode(errors="replace").strip()
