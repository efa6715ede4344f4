"""What systems say of themselves, as recorded, and as this machine says it."""

from __future__ import annotations

import pytest

from benchmarks.speed import device
from benchmarks.speed.record import Clock, Device, Gpu, GpuState, Jetson, Mac, State

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


def machine(
    monkeypatch: pytest.MonkeyPatch, *, system: str = "Linux", **told: str
) -> tuple[Device, State]:
    """A machine on which programs, and files by the last part of their name, tell this."""
    monkeypatch.setattr("platform.system", lambda: system)
    monkeypatch.setattr(
        device, "_read", lambda path: told.get(path.rpartition("/")[2].replace(".", "_"), "")
    )

    def ask(program: str, *arguments: str, patience_s: float = 1) -> str:
        name = program.replace("-", "_")
        more = "_state" if "clocks.sm" in arguments[0] else f"_{arguments[-1]}"
        return told.get(name + more, told.get(name, ""))

    monkeypatch.setattr(device, "_ask", ask)
    return device.describe_device(), device.describe_state()


def test_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    x86, _ = machine(monkeypatch, cpuinfo=X86)
    assert set(x86.cpu_flags) == {
        *("fma", "avx2", "avx512f", "avx512_vnni", "avx512_bf16"),
        *("amx_bf16", "amx_tile", "amx_int8"),
    }
    arm, _ = machine(monkeypatch, cpuinfo=ARM)
    assert arm.cpu_flags == ("asimd", "asimdhp", "asimddp")
    assert machine(monkeypatch)[0].cpu_flags == ()


def test_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    text = (
        "NVIDIA H100 80GB HBM3, 550.54.15, 81559, 1980, 700.00\n"
        "Orin (nvgpu), 540.4.0, [N/A], [N/A], [N/A]\n"
    )
    found, state = machine(monkeypatch, nvidia_smi=text, nvidia_smi_state="345, 68.17, 31, 4\n")
    unknown = {"memory_mb": None, "max_sm_clock_mhz": None, "power_limit_w": None}
    known = {"memory_mb": 81559, "max_sm_clock_mhz": 1980, "power_limit_w": 700}
    assert found.gpus == (
        Gpu(name="NVIDIA H100 80GB HBM3", driver="550.54.15", **known),
        Gpu(name="Orin (nvgpu)", driver="540.4.0", **unknown),
    )
    assert state.gpus == (
        GpuState(sm_clock_mhz=345, power_w=68.17, temperature_c=31, memory_used_mb=4),
    )
    assert device.gpu_memory_bytes() == 4 * 2**20
    assert machine(monkeypatch, nvidia_smi="No devices were found\n")[0].gpus == ()
    assert device.gpu_memory_bytes() is None


def test_jetson(monkeypatch: pytest.MonkeyPatch) -> None:
    found, state = machine(
        monkeypatch,
        model="NVIDIA Jetson Orin Nano\0",
        nv_tegra_release=L4T,
        tegrastats=TEGRASTATS,
        jetson_clocks=JETSON_CLOCKS,
        nvpmodel="NV Power Mode: 15W\n0\n",
    )
    assert state.power_mw == {"VDD_IN": 7256, "VDD_CPU_GPU_CV": 1711, "VDD_SOC": 2511}
    assert state.temperatures_c == {"cpu": 55.093, "soc2": 53.75, "gpu": 56.562, "tj": 56.562}
    assert found.jetson == Jetson(
        model="NVIDIA Jetson Orin Nano",
        l4t="36.4.3",
        power_mode="15W",
        clocks={
            "cpu0": Clock(min_mhz=729.6, max_mhz=1728, current_mhz=1420.8),
            "GPU": Clock(min_mhz=306, max_mhz=1020, current_mhz=612),
            "EMC": Clock(min_mhz=204, max_mhz=3199, current_mhz=2133),
        },
    )


@pytest.mark.parametrize(
    ("text", "percent"), [(THROTTLED, 65), (NOMINAL, 100), ("no such option\n", None)]
)
def test_a_throttled_mac(text: str, percent: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    power = "Now drawing from 'Battery Power'\n -InternalBattery-0 (id=1)\t72%; discharging\n"
    found, state = machine(monkeypatch, system="Darwin", pmset_ps=power, pmset_therm=text)
    assert state.speed_limit_percent == percent
    assert found.mac == Mac(chip=None, macos=None, power_source="Battery Power")
    assert found.usable_cores is None


def test_containers_and_clocks(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = {"memory_max": "536870912\n", "cpu_max": "150000 100000\n"}
    found, _ = machine(monkeypatch, **limits, cpuinfo_max_freq="2600000\n")
    assert (found.memory_limit_bytes, found.cpu_quota) == (536870912, 1.5)
    assert found.max_clock_mhz == 2600
    found, _ = machine(monkeypatch, memory_max="max\n", cpu_max="max 100000\n")
    assert (found.memory_limit_bytes, found.cpu_quota, found.max_clock_mhz) == (None, None, None)


def test_this_machine() -> None:
    found = device.describe_device()
    assert found.cpu
    assert found.cores >= 1
    assert found.memory_bytes is not None
    assert found.memory_bytes > 2**28
    assert found.usable_cores is None or 1 <= found.usable_cores <= found.cores


def test_nothing_is_made_up_where_no_program_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    found, state = device.describe_device(), device.describe_state()
    assert found.gpus == ()
    assert state.gpus == ()
    assert state.power_mw == state.temperatures_c == {}
    assert state.speed_limit_percent is None
