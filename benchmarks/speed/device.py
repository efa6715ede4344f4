"""The machine that is measured on, and the state that it is in. What it does not tell is null."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

import psutil

from benchmarks.speed import device_text
from benchmarks.speed.record import Device, GpuState, Jetson, Mac, State
from samclip_sdk.hardware import cpu_name

_CPUFREQ = "/sys/devices/system/cpu/cpu0/cpufreq"
_PATIENCE_S = 10
_TEGRASTATS_S = 2  # It goes on until it is ended; a line comes every 100 ms.


def describe_device() -> Device:
    """Describes this machine."""
    mac = _mac()
    return Device(
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        cpu=cpu_name(),
        cpu_flags=device_text.parse_cpu_flags(_read("/proc/cpuinfo")),
        cores=os.cpu_count() or 1,
        # macOS has no such thing.
        usable_cores=None if mac is not None else len(psutil.Process().cpu_affinity()),
        cpu_quota=device_text.parse_cpu_quota(_read("/sys/fs/cgroup/cpu.max")),
        governor=_read(f"{_CPUFREQ}/scaling_governor").strip() or None,
        max_clock_mhz=device_text.parse_khz(_read(f"{_CPUFREQ}/cpuinfo_max_freq")),
        memory_bytes=psutil.virtual_memory().total,
        memory_limit_bytes=device_text.parse_limit(_read("/sys/fs/cgroup/memory.max")),
        gpus=device_text.parse_gpus(_nvidia_smi(device_text.GPU_FIELDS)),
        jetson=_jetson(),
        mac=mac,
    )


def describe_state() -> State:
    """Describes what the machine is doing now."""
    power, temperatures = device_text.parse_tegrastats(_tegrastats())
    return State(
        load_average=psutil.getloadavg(),
        gpus=gpu_states(),
        power_mw=power,
        temperatures_c=temperatures,
        speed_limit_percent=(
            device_text.parse_speed_limit(_ask("pmset", "-g", "therm")) if _is_mac() else None
        ),
    )


def gpu_states() -> tuple[GpuState, ...]:
    """The NVIDIA GPUs' states; none where there is no nvidia-smi."""
    return device_text.parse_gpu_states(_nvidia_smi(device_text.GPU_STATE_FIELDS))


def gpu_memory_bytes() -> int | None:
    """The memory in use on all GPUs together, by whomever; None where no one tells."""
    known = [state.memory_used_mb for state in gpu_states() if state.memory_used_mb is not None]
    return round(sum(known) * 2**20) if known else None  # nvidia-smi's MB are MiB


def _jetson() -> Jetson | None:
    model = _read("/proc/device-tree/model").strip("\0\n ")
    release = _read("/etc/nv_tegra_release")
    if not release and "Jetson" not in model:
        return None
    return Jetson(
        model=model or platform.machine(),
        l4t=device_text.parse_l4t(release),
        power_mode=device_text.parse_power_mode(_ask("nvpmodel", "-q")),
        clocks=device_text.parse_clocks(_ask("jetson_clocks", "--show")),
    )


def _mac() -> Mac | None:
    if not _is_mac():
        return None
    return Mac(
        chip=_ask("sysctl", "-n", "machdep.cpu.brand_string").strip() or None,
        macos=_ask("sw_vers", "-productVersion").strip() or None,
        power_source=device_text.parse_power_source(_ask("pmset", "-g", "ps")),
    )


def _is_mac() -> bool:
    return platform.system() == "Darwin"


def _nvidia_smi(fields: tuple[str, ...]) -> str:
    query = f"--query-gpu={','.join(fields)}"
    return _ask("nvidia-smi", query, "--format=csv,noheader,nounits")


def _tegrastats() -> str:
    return _ask("tegrastats", "--interval", "100", patience_s=_TEGRASTATS_S).partition("\n")[0]


def _read(path: str) -> str:
    """A file's text; empty where it cannot be read."""
    with suppress(OSError):
        return Path(path).read_text(encoding="utf-8", errors="replace")
    return ""


def _ask(program: str, *arguments: str, patience_s: float = _PATIENCE_S) -> str:
    """What a program prints, or had printed when patience ran out; empty where it fails."""
    path = shutil.which(program)
    if path is None:
        return ""
    try:
        done = subprocess.run(
            [path, *arguments], capture_output=True, timeout=patience_s, check=True
        )
    except subprocess.TimeoutExpired as late:
        return (late.stdout or b"").decode("utf-8", errors="replace")
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.decode("utf-8", errors="replace")
