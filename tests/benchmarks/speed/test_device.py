"""What systems say of themselves, as recorded, and as this machine says it."""

from __future__ import annotations

import pytest

from benchmarks.speed import device_text
from benchmarks.speed.device import describe_device, describe_state
from benchmarks.speed.record import Clock, Gpu, GpuState

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
TEGRASTATS = (
    "09-24-2026 10:15:32 RAM 2161/7620MB (lfb 149x4MB) SWAP 1875/12002MB (cached 43MB) "
    "CPU [2%@1728,1%@1728,4%@1728,off,9%@1728,1%@1728] EMC_FREQ 0%@2133 GR3D_FREQ 0%@[305] "
    "cpu@55.093C soc2@53.75C gpu@56.562C tj@56.562C "
    "VDD_IN 7256mW/7100mW VDD_CPU_GPU_CV 1711mW/1650mW VDD_SOC 2511mW/2500mW"
)
JETSON_CLOCKS = """\
SOC family:tegra234  Machine:NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super
Online CPUs: 0-5
cpu0:  Online=1 Governor=schedutil MinFreq=729600 MaxFreq=1728000 CurrentFreq=1420800 IdleStates:
GPU MinFreq=306000000 MaxFreq=1020000000 CurrentFreq=612000000
EMC MinFreq=204000000 MaxFreq=3199000000 CurrentFreq=2133000000 FreqOverride=0
NV Power Mode: MAXN_SUPER
"""
L4T = "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64\n"
THROTTLED = """\
2026-08-20 05:08:37 -0700 CPU Power notify
\tCPU_Scheduler_Limit \t= 100
\tCPU_Speed_Limit \t= 65
"""
NOMINAL = "Note: No thermal warning level has been recorded\n"


def test_cpus() -> None:
    assert set(device_text.parse_cpu_flags(X86)) == {
        *("fma", "avx2", "avx512f", "avx512_vnni", "avx512_bf16"),
        *("amx_bf16", "amx_tile", "amx_int8"),
    }
    assert device_text.parse_cpu_flags(ARM) == ("asimd", "asimdhp", "asimddp")
    assert device_text.parse_cpu_flags("") == ()


def test_gpus() -> None:
    text = (
        "NVIDIA H100 80GB HBM3, 550.54.15, 81559, 1980, 700.00\n"
        "Orin (nvgpu), 540.4.0, [N/A], [N/A], [N/A]\n"
    )
    assert device_text.parse_gpus(text) == (
        Gpu(
            name="NVIDIA H100 80GB HBM3",
            driver="550.54.15",
            memory_mb=81559,
            max_sm_clock_mhz=1980,
            power_limit_w=700,
        ),
        Gpu(
            name="Orin (nvgpu)",
            driver="540.4.0",
            memory_mb=None,
            max_sm_clock_mhz=None,
            power_limit_w=None,
        ),
    )
    assert device_text.parse_gpu_states("345, 68.17, 31, 4\n") == (
        GpuState(sm_clock_mhz=345, power_w=68.17, temperature_c=31, memory_used_mb=4),
    )
    assert device_text.parse_gpus("No devices were found\n") == ()


def test_jetson() -> None:
    power, temperatures = device_text.parse_tegrastats(TEGRASTATS)
    assert power == {"VDD_IN": 7256, "VDD_CPU_GPU_CV": 1711, "VDD_SOC": 2511}
    assert temperatures == {"cpu": 55.093, "soc2": 53.75, "gpu": 56.562, "tj": 56.562}
    assert device_text.parse_clocks(JETSON_CLOCKS) == {
        "cpu0": Clock(min_mhz=729.6, max_mhz=1728, current_mhz=1420.8),
        "GPU": Clock(min_mhz=306, max_mhz=1020, current_mhz=612),
        "EMC": Clock(min_mhz=204, max_mhz=3199, current_mhz=2133),
    }
    assert device_text.parse_power_mode("NV Power Mode: 15W\n0\n") == "15W"
    assert device_text.parse_l4t(L4T) == "36.4.3"


@pytest.mark.parametrize(
    ("text", "percent"), [(THROTTLED, 65), (NOMINAL, 100), ("no such option\n", None)]
)
def test_a_throttled_mac(text: str, percent: int | None) -> None:
    assert device_text.parse_speed_limit(text) == percent


def test_other_facts() -> None:
    text = "Now drawing from 'Battery Power'\n -InternalBattery-0 (id=1)\t72%; discharging\n"
    assert device_text.parse_power_source(text) == "Battery Power"
    assert device_text.parse_limit("536870912\n") == 536870912
    assert device_text.parse_limit("max\n") is None
    assert device_text.parse_cpu_quota("150000 100000\n") == 1.5
    assert device_text.parse_cpu_quota("max 100000\n") is None
    assert device_text.parse_khz("2600000\n") == 2600


def test_this_machine() -> None:
    device = describe_device()
    assert device.cpu
    assert device.cores >= 1
    assert device.memory_bytes is not None
    assert device.memory_bytes > 2**28
    assert device.usable_cores is None or 1 <= device.usable_cores <= device.cores


def test_nothing_is_made_up_where_no_program_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    device, state = describe_device(), describe_state()
    assert device.gpus == ()
    assert state.gpus == ()
    assert state.power_mw == state.temperatures_c == {}
    assert state.speed_limit_percent is None
