"""A speed.json as it may be, for tests of what reads one."""

from __future__ import annotations

from typing import Any

from benchmarks.record import describe_environment
from benchmarks.speed.measure import summarize
from benchmarks.speed.published import (
    BEST,
    CLIPSEG,
    DEFAULT_ONNX,
    MOBILE_SAM,
    ONNX_FP32,
    SAM_CLIP_TORCH,
    TEXT_150,
    WIDE,
    YOLOE,
)
from benchmarks.speed.record import (
    Cost,
    Device,
    Failure,
    Machine,
    MachineShare,
    Peak,
    SeriesPoint,
    Settings,
    Speed,
    Spread,
    Startup,
    State,
    SubjectRow,
    WorkloadRow,
)
from samclip_sdk.bundle.open import DEFAULT_MODEL

DEVICE = Device(
    system="Linux",
    cpu="A CPU",
    cpu_flags=("avx2",),
    cores=4,
    usable_cores=2,
    memory_bytes=8_000_000_000,
    told={"governor": "performance"},
)
IDLE = State(load_average=(0.1, 0.2, 0.3), told={})
FASTEST = f"{DEFAULT_MODEL}-openvino-int8"
ENCODER = Cost(
    graph="image_encoder",
    weight_flop=700_000_000_000,
    attention_flop=240_500_000_000,
    parameters=90_000_000,
    activation_bytes=20_000_000,
)


def workload_row(workload: str, *rounds_ms: float) -> WorkloadRow:
    """One run a round."""
    times = summarize([[each] for each in rounds_ms])
    return WorkloadRow(
        **dict(times),
        workload=workload,
        first_ms=tuple(2 * each for each in rounds_ms),
        images_per_s=1000 / times.warm.mean_ms,
        peak_rss_bytes=90_000_000,
    )


def subject_row(key: str, *workloads: WorkloadRow, **changes: Any) -> SubjectRow:
    row = SubjectRow(
        key=key,
        name=f"the {key}",
        precision="fp32",
        notes="random weights",
        package_versions={"onnxruntime": "1.20"},
        artifact_bytes=17_500_000,
        import_ms=(200.0, 300.0),
        load_ms=(300.0, 400.0),
        workloads=workloads,
        steps={"image_encoder": summarize([[80.0], [90.0]])},
        peak_rss_bytes=100_000_000,
        gpu_memory_bytes=None,
    )
    return row.model_copy(update=changes)


def speed_of(*subjects: SubjectRow, failures: tuple[Failure, ...] = (), **changes: Any) -> Speed:
    record = Speed(
        environment=describe_environment(["speed"]),
        seconds=1.0,
        device=DEVICE,
        before=IDLE,
        after=IDLE,
        settings=Settings(rounds=2, seconds=1, at_least=3, at_most=9, baseline=None),
        subjects=subjects,
        failures=failures,
    )
    return record.model_copy(update=changes)


def spread(p50_ms: float, low_ms: float | None, high_ms: float | None) -> Spread:
    return Spread(p50_ms=p50_ms, low_ms=low_ms, high_ms=high_ms)


def machine(**gflops: float) -> Machine:
    peaks = tuple(
        Peak(precision=precision, engine="torch", size=1024, gflops=each)
        for precision, each in gflops.items()
    )
    return Machine(threads=2, peaks=peaks, bandwidth_gbps=20)


def point(subject: str, workload: str, ms: Spread) -> SeriesPoint:
    return SeriesPoint(subject=subject, workload=workload, spread=ms)


def vit_b_speed() -> Speed:
    steps = {"image_encoder": summarize([[2400.0]]), "other": summarize([[500.0]])}
    return speed_of(
        subject_row(
            ONNX_FP32,
            workload_row("encode", 2500, 2500),
            workload_row("three_ways", 2900),
            steps=steps,
        ),
        subject_row(
            BEST,
            workload_row("encode", 900, 1000, 1100),
            workload_row("text3", 100, 100),
            workload_row("three_ways", 1200),
        ),
        subject_row(TEXT_150, workload_row("text3", 140, 160)),
        subject_row(
            SAM_CLIP_TORCH, workload_row("encode", 10_000), workload_row("three_ways", 24_000)
        ),
        machine=machine(int8=900),
        costs=(ENCODER,),
        shares=(
            MachineShare(
                runtime="openvino",
                precision="int8",
                attention="bf16",
                graph="image_encoder",
                spread=spread(1000, 950, 1050),
                gflops=740,
                of_peak=0.62,
                of_limit=0.82,
                bound="compute",
            ),
        ),
        series=(
            point("vit-t1-encoder", "image_encoder@1024", spread(4800, 4700, 4900)),
            point("vit-t2-encoder", "image_encoder@448", spread(300, None, None)),
            point("vit-t2-encoder", "image_encoder@1024", spread(2500, 2400, 2600)),
            point("vit-boxes", "boxes@150", spread(2000, 1900, 2100)),
        ),
    )


def default_speed() -> Speed:
    return speed_of(
        subject_row(DEFAULT_ONNX, workload_row("picture_to_masks", 60, 70)),
        subject_row(
            FASTEST,
            workload_row("encode", 30, 30),
            workload_row("text3", 15, 21),
            workload_row("picture_to_masks", 40, 50),
        ),
        # The fastest of all, and of more labels than those of the bars of three.
        subject_row(
            f"{FASTEST}{WIDE}", workload_row("text3", 20, 21), workload_row("picture_to_masks", 1)
        ),
        subject_row(YOLOE, workload_row("picture_to_masks", 180, 190)),
        subject_row(CLIPSEG, workload_row("text3", 10, 10), workload_row("picture_to_masks", 45)),
        subject_row(MOBILE_SAM, workload_row("encode", 300, 350)),
        startup=Startup(seconds=(1.1, 1.3, 1.2), peak_rss_bytes=260_000_000),
        mask_iou={"onnx fp32": 1.0, "openvino int8": 0.98},
    )


def cells(text: str, first: str) -> list[str]:
    """Those of a table's row, but its first."""
    line = next(line for line in text.splitlines() if line.startswith(f"| {first} |"))
    return [cell.strip() for cell in line.split("|")][2:-1]
