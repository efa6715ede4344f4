"""Reads what systems say of themselves: pure functions of text, null where it says nothing."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar

from benchmarks.speed.record import Clock, Gpu, GpuState

Parsed = TypeVar("Parsed")

GPU_FIELDS = ("name", "driver_version", "memory.total", "clocks.max.sm", "power.limit")
GPU_STATE_FIELDS = ("clocks.sm", "power.draw", "temperature.gpu", "memory.used")

_NOTABLE_FLAGS = (
    *("avx2", "fma", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16"),
    *("amx_tile", "amx_int8", "amx_bf16", "amx_fp16"),
    *("neon", "asimd", "asimdhp", "asimddp", "i8mm", "bf16", "sve", "sve2", "sme"),
)
_RAIL = re.compile(r"\b([A-Z][A-Z0-9_]*) (\d+)mW")
_SENSOR = re.compile(r"\b([A-Za-z][A-Za-z0-9_]*)@(-?\d+(?:\.\d+)?)C\b")
_CLOCK = re.compile(
    r"^(cpu\d+|GPU|EMC)\b:?.*?MinFreq=(\d+) MaxFreq=(\d+) CurrentFreq=(\d+)", re.MULTILINE
)
_KHZ_PER_MHZ, _HZ_PER_MHZ = 1e3, 1e6


def parse_cpu_flags(text: str) -> tuple[str, ...]:
    """The CPU's flags that matter, from /proc/cpuinfo."""
    flags = set(" ".join(re.findall(r"^(?:flags|Features)\s*:(.*)", text, re.MULTILINE)).split())
    return tuple(flag for flag in _NOTABLE_FLAGS if flag in flags)


def parse_limit(text: str) -> int | None:
    """A container's limit, from memory.max; None if there is none."""
    return _found(r"^(\d+)$", text.strip(), int)


def parse_cpu_quota(text: str) -> float | None:
    """A container's share of the cores, from cpu.max; None if it has all of them."""
    return _found(
        r"^(\d+ \d+)$", text.strip(), lambda pair: int(pair.split()[0]) / int(pair.split()[1])
    )


def parse_khz(text: str) -> float | None:
    """MHz, from a file of cpufreq."""
    return _found(r"^(\d+)$", text.strip(), lambda clock: int(clock) / _KHZ_PER_MHZ)


def parse_gpus(text: str) -> tuple[Gpu, ...]:
    """One for each line of `nvidia-smi --query-gpu=GPU_FIELDS --format=csv,noheader,nounits`."""
    return tuple(
        Gpu(
            name=name,
            driver=driver,
            memory_mb=_number(memory),
            max_sm_clock_mhz=_number(clock),
            power_limit_w=_number(power),
        )
        for name, driver, memory, clock, power in _rows(text, width=len(GPU_FIELDS))
    )


def parse_gpu_states(text: str) -> tuple[GpuState, ...]:
    """One for each line of `nvidia-smi --query-gpu=GPU_STATE_FIELDS ...`."""
    return tuple(
        GpuState(
            sm_clock_mhz=_number(clock),
            power_w=_number(power),
            temperature_c=_number(temperature),
            memory_used_mb=_number(memory),
        )
        for clock, power, temperature, memory in _rows(text, width=len(GPU_STATE_FIELDS))
    )


def parse_tegrastats(line: str) -> tuple[dict[str, int], dict[str, float]]:
    """Milliwatts by rail and degrees by sensor, from a line of tegrastats; now, not on average."""
    power = {rail: int(now) for rail, now in _RAIL.findall(line)}
    return power, {sensor: float(degrees) for sensor, degrees in _SENSOR.findall(line)}


def parse_power_mode(text: str) -> str | None:
    """The mode's name, from `nvpmodel -q`."""
    return _found(r"NV Power Mode:\s*(\S+)", text, str)


def parse_clocks(text: str) -> dict[str, Clock]:
    """Clocks by name, from `jetson_clocks --show`, which gives a CPU's in kHz, others' in Hz."""
    found = {}
    for name, low, high, now in _CLOCK.findall(text):
        unit = _KHZ_PER_MHZ if name.startswith("cpu") else _HZ_PER_MHZ
        low_mhz, high_mhz, now_mhz = (int(clock) / unit for clock in (low, high, now))
        found[name] = Clock(min_mhz=low_mhz, max_mhz=high_mhz, current_mhz=now_mhz)
    return found


def parse_l4t(text: str) -> str | None:
    """The release of Jetson Linux, such as "36.4.3", from /etc/nv_tegra_release."""
    return _found(
        r"# (R\d+ \(release\), REVISION: [\d.]+)",
        text,
        lambda release: ".".join(re.findall(r"\d[\d.]*", release)),
    )


def parse_power_source(text: str) -> str | None:
    """A Mac's, from `pmset -g ps`."""
    return _found(r"Now drawing from '([^']+)'", text, str)


def parse_speed_limit(text: str) -> int | None:
    """Percent of a Mac's full speed, from `pmset -g therm`; Apple silicon says it if it is less."""
    if (limit := _found(r"CPU_Speed_Limit\s*=\s*(\d+)", text, int)) is not None:
        return limit
    return 100 if "No thermal warning level has been recorded" in text else None


def _found(pattern: str, text: str, read: Callable[[str], Parsed]) -> Parsed | None:
    match = re.search(pattern, text, re.MULTILINE)
    return None if match is None else read(match[1])


def _rows(text: str, *, width: int) -> list[list[str]]:
    rows = [[cell.strip() for cell in line.split(",")] for line in text.splitlines()]
    return [row for row in rows if len(row) == width]


def _number(cell: str) -> float | None:
    """A cell of nvidia-smi; it says [N/A] or [Not Supported] of what it does not know."""
    try:
        return float(cell)
    except ValueError:
        return None
