"""The machine that is measured on, and the state that it is in, in its own words."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Mapping
from pathlib import Path

import psutil

from benchmarks.record import publishable
from benchmarks.speed.record import Device, State
from samclip_sdk.hardware import ask_program, cpu_name, read_file

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
_MEMORY = {"MB": "nvidia-smi --query-gpu=memory.used --format=csv,noheader,nounits"}
_PATIENCE_S = 2  # tegrastats goes on until it is ended; a line comes every 100 ms
_NOTABLE_FLAGS = (
    *("avx2", "fma", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16"),
    *("amx_tile", "amx_int8", "amx_bf16", "amx_fp16"),
    *("neon", "asimd", "asimdhp", "asimddp", "i8mm", "bf16", "sve", "sve2", "sme"),
)


def describe_device() -> Device:
    """Describes this machine."""
    cpuinfo = _ask("/proc/cpuinfo")
    told = re.findall(r"^(?:flags|Features)\s*:(.*)", cpuinfo, re.MULTILINE)
    flags = set(" ".join(told).split())
    affinity = getattr(psutil.Process(), "cpu_affinity", None)  # macOS has no such thing
    return Device(
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        cpu=cpu_name(),
        cpu_flags=tuple(flag for flag in _NOTABLE_FLAGS if flag in flags),
        cores=os.cpu_count() or 1,
        usable_cores=None if affinity is None else len(affinity()),
        memory_bytes=psutil.virtual_memory().total,
        told=_tell(_DEVICE),
    )


def describe_state() -> State:
    """Describes what the machine is doing now."""
    return State(load_average=psutil.getloadavg(), told=_tell(_STATE))


def gpu_memory_bytes() -> int | None:
    """The memory in use on all GPUs together, by whomever; None where no one tells."""
    known = re.findall(r"\b\d+\b", _tell(_MEMORY).get("MB", ""))
    return sum(map(int, known)) * 2**20 if known else None  # nvidia-smi's MB are MiB


def _tell(sources: Mapping[str, str]) -> dict[str, str]:
    """What files and programs tell, each in one line; none where they are not, or fail."""
    told = {name: publishable(_ask(source).replace("\0", "")) for name, source in sources.items()}
    return {name: text for name, text in told.items() if text}


def _ask(source: str) -> str:
    if source.startswith("/"):
        return read_file(Path(source))
    return ask_program(*source.split(), patience_s=_PATIENCE_S)
