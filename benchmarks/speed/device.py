"""The machine that is measured on, and the state that it is in. What it does not tell is null."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import psutil

from benchmarks.record import Record
from benchmarks.speed.record import Clock, Device, Gpu, GpuState, Jetson, Mac, State
from samclip_sdk.hardware import cpu_name

AnyGpu = TypeVar("AnyGpu", bound=Record)

_CPUFREQ = "/sys/devices/system/cpu/cpu0/cpufreq"
_PATIENCE_S = 10
_TEGRASTATS_S = 2  # It goes on until it is ended; a line comes every 100 ms.
_NOTABLE_FLAGS = (
    *("avx2", "fma", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16"),
    *("amx_tile", "amx_int8", "amx_bf16", "amx_fp16"),
    *("neon", "asimd", "asimdhp", "asimddp", "i8mm", "bf16", "sve", "sve2", "sme"),
)
# Field of a record -> what nvidia-smi calls it.
_GPU = {
    **{"name": "name", "driver": "driver_version", "memory_mb": "memory.total"},
    **{"max_sm_clock_mhz": "clocks.max.sm", "power_limit_w": "power.limit"},
}
_GPU_STATE = {
    **{"sm_clock_mhz": "clocks.sm", "power_w": "power.draw"},
    **{"temperature_c": "temperature.gpu", "memory_used_mb": "memory.used"},
}
_RAIL = re.compile(r"\b([A-Z][A-Z0-9_]*) (\d+)mW")
_SENSOR = re.compile(r"\b([A-Za-z][A-Za-z0-9_]*)@(-?\d+(?:\.\d+)?)C\b")
_CLOCK = re.compile(
    r"^(cpu\d+|GPU|EMC)\b:?.*?MinFreq=(\d+) MaxFreq=(\d+) CurrentFreq=(\d+)", re.MULTILINE
)


def describe_device() -> Device:
    """Describes this machine."""
    quota = _find(r"^(\d+ \d+)$", _read("/sys/fs/cgroup/cpu.max"))
    time_us, period_us = quota.split() if quota else (None, None)
    clock_khz = _find(r"^(\d+)$", _read(f"{_CPUFREQ}/cpuinfo_max_freq"))
    limit = _find(r"^(\d+)$", _read("/sys/fs/cgroup/memory.max"))
    return Device(
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        cpu=cpu_name(),
        cpu_flags=_cpu_flags(),
        cores=os.cpu_count() or 1,
        # macOS has no such thing.
        usable_cores=None if _is_mac() else len(psutil.Process().cpu_affinity()),
        cpu_quota=int(time_us) / int(period_us) if time_us and period_us else None,
        governor=_read(f"{_CPUFREQ}/scaling_governor").strip() or None,
        max_clock_mhz=int(clock_khz) / 1000 if clock_khz else None,
        memory_bytes=psutil.virtual_memory().total,
        memory_limit_bytes=int(limit) if limit else None,
        gpus=_nvidia_smi(Gpu, _GPU),
        jetson=_jetson(),
        mac=_mac(),
    )


def describe_state() -> State:
    """Describes what the machine is doing now."""
    line = _ask("tegrastats", "--interval", "100", patience_s=_TEGRASTATS_S).partition("\n")[0]
    return State(
        load_average=psutil.getloadavg(),
        gpus=_nvidia_smi(GpuState, _GPU_STATE),
        power_mw={rail: int(now) for rail, now in _RAIL.findall(line)},  # not the average behind it
        temperatures_c={sensor: float(degrees) for sensor, degrees in _SENSOR.findall(line)},
        speed_limit_percent=_speed_limit() if _is_mac() else None,
    )


def gpu_memory_bytes() -> int | None:
    """The memory in use on all GPUs together, by whomever; None where no one tells."""
    states = _nvidia_smi(GpuState, _GPU_STATE)
    known = [state.memory_used_mb for state in states if state.memory_used_mb is not None]
    return round(sum(known) * 2**20) if known else None  # nvidia-smi's MB are MiB


def _cpu_flags() -> tuple[str, ...]:
    told = re.findall(r"^(?:flags|Features)\s*:(.*)", _read("/proc/cpuinfo"), re.MULTILINE)
    flags = set(" ".join(told).split())
    return tuple(flag for flag in _NOTABLE_FLAGS if flag in flags)


def _nvidia_smi(kind: type[AnyGpu], fields: dict[str, str]) -> tuple[AnyGpu, ...]:
    """A row for each GPU; none where there is no nvidia-smi."""
    query = f"--query-gpu={','.join(fields.values())}"
    found = []
    for line in _ask("nvidia-smi", query, "--format=csv,noheader,nounits").splitlines():
        cells = [cell.strip() for cell in line.split(",")]
        if len(cells) == len(fields):
            # It says [N/A] or [Not Supported] of what it does not know.
            known = [None if cell.startswith("[") else cell for cell in cells]
            found.append(kind.model_validate(dict(zip(fields, known, strict=True))))
    return tuple(found)


def _jetson() -> Jetson | None:
    model = _read("/proc/device-tree/model").strip("\0\n ")
    release = _read("/etc/nv_tegra_release")
    if not release and "Jetson" not in model:
        return None
    l4t = _find(r"# (R\d+ \(release\), REVISION: [\d.]+)", release)
    clocks = {}
    for name, *told in _CLOCK.findall(_ask("jetson_clocks", "--show")):
        # A CPU's are in kHz, others' in Hz.
        low, high, now = (int(each) / (1e3 if name.startswith("cpu") else 1e6) for each in told)
        clocks[name] = Clock(min_mhz=low, max_mhz=high, current_mhz=now)
    return Jetson(
        model=model or platform.machine(),
        l4t=".".join(re.findall(r"\d[\d.]*", l4t)) if l4t else None,
        power_mode=_find(r"NV Power Mode:\s*(\S+)", _ask("nvpmodel", "-q")),
        clocks=clocks,
    )


def _mac() -> Mac | None:
    if not _is_mac():
        return None
    return Mac(
        chip=_ask("sysctl", "-n", "machdep.cpu.brand_string").strip() or None,
        macos=_ask("sw_vers", "-productVersion").strip() or None,
        power_source=_find(r"Now drawing from '([^']+)'", _ask("pmset", "-g", "ps")),
    )


def _speed_limit() -> int | None:
    """Percent of a Mac's full speed; Apple silicon says it if it is less."""
    text = _ask("pmset", "-g", "therm")
    if (limit := _find(r"CPU_Speed_Limit\s*=\s*(\d+)", text)) is not None:
        return int(limit)
    return 100 if "No thermal warning level has been recorded" in text else None


def _is_mac() -> bool:
    return platform.system() == "Darwin"


def _find(pattern: str, text: str) -> str | None:
    match: Any = re.search(pattern, text, re.MULTILINE)
    return None if match is None else match[1]


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
