"""The machine and its state, as files and programs tell it."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from benchmarks.table import publishable
from samclip_sdk.system.hardware import ask_program, read_file
from samclip_sdk.system.timing import elapsed_ms, repeat

_CPUFREQ = "/sys/devices/system/cpu/cpu0/cpufreq"
# Name -> a file, or a command, that tells of limits, clocks, GPUs, a Jetson or a Mac.
_DEVICE = {
    "governor": f"{_CPUFREQ}/scaling_governor",
    "max_khz": f"{_CPUFREQ}/cpuinfo_max_freq",
    "cpu_limit": "/sys/fs/cgroup/cpu.max",
    "memory_limit": "/sys/fs/cgroup/memory.max",
    "gpus": "nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.max.sm,power.limit "
    "--format=csv,noheader",
    "jetson": "/proc/device-tree/model",
    "jetson_linux": "/etc/nv_tegra_release",
    "power_mode": "nvpmodel -q",
    "macos": "sw_vers -productVersion",
    "power_source": "pmset -g ps",
}
_STATE = {
    "gpus": "nvidia-smi --query-gpu=clocks.sm,power.draw,temperature.gpu,memory.used "
    "--format=csv,noheader",
    "clocks": "jetson_clocks --show",
    "power": "tegrastats --interval 100",
    "throttling": "pmset -g therm",
}
_PATIENCE_S = 2  # tegrastats goes on until it is ended; a line comes every 100 ms
_NOTABLE_FLAGS = (
    *("avx2", "fma", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16"),
    *("amx_tile", "amx_int8", "amx_bf16", "amx_fp16"),
    *("neon", "asimd", "asimdhp", "asimddp", "i8mm", "bf16", "sve", "sve2", "sme"),
)


def describe_device() -> dict[str, Any]:
    """This machine, with the flags of its CPU that matrix products depend on."""
    told = re.findall(r"^(?:flags|Features)\s*:(.*)", _ask("/proc/cpuinfo"), re.MULTILINE)
    flags = set(" ".join(told).split())
    affinity = getattr(psutil.Process(), "cpu_affinity", None)  # macOS has no such thing
    return {
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cpu_flags": [flag for flag in _NOTABLE_FLAGS if flag in flags],
        "usable_cores": (os.cpu_count() or 1) if affinity is None else len(affinity()),
        "memory_bytes": psutil.virtual_memory().total,
        **_tell(_DEVICE),
    }


def describe_state() -> dict[str, Any]:
    """What the machine is doing now: the load of 1, 5 and 15 minutes, clocks, power, heat."""
    return {"load_average": list(psutil.getloadavg()), **_tell(_STATE)}


def fp32_gflops(sides: Sequence[int] = (1024, 2048, 3072), *, runs: int = 5) -> float:
    """10^9 operations a second in products of square matrices of fp32, all cores together.

    The most of several sizes, and of several runs: a share of it is not flattered by a poor peak.
    """
    import torch  # only here: other measurements do without it

    best = 0.0
    for side in sides:
        left, right = torch.ones(2, side, side)
        product = partial(torch.mm, left, right, out=torch.empty_like(left))
        times_ms = repeat(partial(elapsed_ms, product), seconds=0, at_least=1 + runs)
        best = max(best, 2 * side**3 / min(times_ms[1:]) / 1e6)
    return best


def _tell(sources: Mapping[str, str]) -> dict[str, str]:
    """What files and programs tell, each in one line; none where they are not, or fail."""
    told = {name: publishable(_ask(source).replace("\0", "")) for name, source in sources.items()}
    return {name: text for name, text in told.items() if text}


def _ask(source: str) -> str:
    if source.startswith("/"):
        return read_file(Path(source))
    return ask_program(*source.split(), patience_s=_PATIENCE_S)
