"""The bars beside what was measured, the sections of the page, and the published subjects."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.speed.compare import bars
from benchmarks.speed.measure import summarize
from benchmarks.speed.published import float_precision, measure_startup, shares_of_sets
from benchmarks.speed.record import (
    Cost,
    Machine,
    MachineShare,
    Peak,
    SeriesPoint,
    Speed,
    Spread,
    Startup,
)
from benchmarks.speed.report import render, render_summary
from benchmarks.speed.subject import (
    BEST,
    ONNX_FP32,
    RESOLUTIONS,
    SAM_CLIP_ONNX,
    SAM_CLIP_TORCH,
    TEXT_150,
    VIT_B,
    main_specs,
    make_subject,
    series_specs,
)
from tests.benchmarks.speed.example_speed import speed_of, spread, subject_row, workload_row

ENCODER = Cost(
    graph="image_encoder",
    weight_flop=700_000_000_000,
    attention_flop=240_500_000_000,
    parameters=90_000_000,
    activation_bytes=20_000_000,
)


def machine(**gflops: float) -> Machine:
    peaks = tuple(
        Peak(precision=precision, engine="torch", size=1024, gflops=each)
        for precision, each in gflops.items()
    )
    return Machine(threads=2, peaks=peaks, bandwidth_gbps=20)


def point(subject: str, workload: str, ms: Spread) -> SeriesPoint:
    return SeriesPoint(subject=subject, workload=workload, spread=ms)


@pytest.fixture
def speed() -> Speed:
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
            point("samclip-tiny-onnx-fp32-label", "label", spread(55, 50, 60)),
            point("samclip-tiny-openvino-int8-label", "label", spread(40, 36, 48)),
        ),
        startup=Startup(seconds=(0.38, 0.42, 0.4), peak_rss_bytes=90_000_000),
        tiny_iou={"openvino int8": 0.981},
    )


def test_a_bar_is_met_only_by_the_whole_spread(speed: Speed) -> None:
    told = {
        name: (found, verdict) for name, _, found, verdict in (bar.row() for bar in bars(speed))
    }
    fp32, best = "image encoder in fp32 on onnxruntime", "image encoder on the best CPU path"
    assert told[f"{fp32}, against SAM in torch"] == ("4.00×", "met")
    # The median meets the bar of 10, the slowest round does not.
    assert told[f"{best}, against SAM in torch"] == (
        "10.0× (9.09–11.1), 12.2× at the machine's limit",
        "within the spread",
    )
    assert told[f"{fp32}, against SAM's plain ONNX export"] == ("–", "not measured")
    assert told[f"{best}, of the machine's limit"] == ("82.0 % (78.1–86.3)", "met")
    fp32, best, two = (
        "all three in fp32 on onnxruntime",
        "all three on the best CPU path",
        "SAM and CLIP ViT-L/14 in torch",
    )
    assert told[f"{fp32}, against {two}"] == ("8.28×", "met")
    assert told[f"{best}: peak memory, of {two}"] == ("1.00×", "**missed**")
    assert told["all three but the image encoder, of the image encoder"] == ("0.208×", "**missed**")
    assert told["text-to-mask of 150 classes, 3 of them present, of that of 3"] == (
        "1.50× (1.40–1.60)",
        "within the spread",
    )
    assert told["image encoder in fp32 on onnxruntime: peak memory"] == ("90.0 MB", "met")
    start, tiny = "importing and loading samclip-tiny", "samclip-tiny on the best CPU path"
    assert told[start] == ("0.400 s (0.380–0.420)", "met")
    assert told[f"{start}: peak memory"] == ("90.0 MB", "met")
    assert told["samclip-tiny, text-to-mask of one label"] == ("25.0 images/s (20.8–27.8)", "met")
    assert told[f"{tiny}: mask IoU with torch"] == ("0.981", "met")


def test_a_slow_start_misses_its_bar(speed: Speed) -> None:
    for seconds, verdict in (((0.6, 0.7), "**missed**"), ((0.4,), "spread unknown")):
        startup = Startup(seconds=seconds, peak_rss_bytes=90_000_000)
        found = bars(speed.model_copy(update={"startup": startup}))
        assert verdict in {bar.verdict for bar in found if bar.name.startswith("importing")}


def test_nothing_measured_meets_nothing() -> None:
    assert {bar.verdict for bar in bars(speed_of())} == {"not measured"}


def test_the_page(speed: Speed) -> None:
    tables = render(speed)
    assert "of that of 3 | <= 1.5× | 1.50× (1.40–1.60) | within the spread |" in tables["bars"]
    assert "| image_encoder | 700.00 | 240.50 | 90.0 | 380 | 110 |" in tables["costs"]
    share = "| image_encoder | openvino int8 | bf16 | 1000 (950–1050) | 740 | 62% | 82% | compute |"
    assert share in tables["shares"]
    assert "| vit-t1-encoder | – | 4800 (4700–4900) |" in tables["image_encoder"]
    assert "| vit-t2-encoder | 300 | 2500 (2400–2600) |" in tables["image_encoder"]
    assert "| vit-boxes | 2000 (1900–2100) |" in tables["boxes"]
    assert "| samclip-tiny-openvino-int8 | 40 (36–48) | 25.0 | 0.9810 |" in tables["tiny"]
    few = render(speed.model_copy(update={"series": (), "machine": None}))
    for name in ("boxes", "image_encoder", "shares"):
        assert few[name] == "This was not measured; `--all` does.\n"


def test_the_readmes_table(speed: Speed) -> None:
    text = render_summary(speed)
    assert "| one model, OpenVINO in int8 | 1.2 s | – | 100 | 18 |" in text
    assert "| SAM ViT-B and CLIP ViT-L/14, torch in fp32 | 24.0 s | 20.0× | " in text
    missing = "| SAM ViT-B and CLIP ViT-L/14, onnxruntime in fp32 | not measured | – | – | – |"
    assert missing in text


def test_a_share_is_of_all_subjects_that_run_the_graph() -> None:
    times = {BEST: 300.0, f"{BEST}-k30": 200.0, TEXT_150: 250.0, ONNX_FP32: 700.0}
    rows = [
        subject_row(key, workload_row("three_ways", ms), steps={"image_encoder": summarize([[ms]])})
        for key, ms in times.items()
    ]
    cost = ENCODER.model_copy(update={"weight_flop": 100_000_000_000, "attention_flop": 0})
    found = shares_of_sets(rows, costs=[cost], machine=machine(fp32=800, bf16=800, int8=800))
    shares = {(each.runtime, each.precision): each for each in found}
    assert set(shares) == {("openvino", "int8"), ("onnx", "fp32")}
    assert shares["openvino", "int8"].spread == spread(250, 200, 300)
    assert shares["openvino", "int8"].of_peak == pytest.approx(0.5)
    assert shares["onnx", "fp32"].spread == spread(700, 700, 700)


def test_what_int8_leaves_in_float(monkeypatch: pytest.MonkeyPatch) -> None:
    assert float_precision("onnx", "int8") == "fp32"
    assert float_precision("openvino", "bf16") == "bf16"
    for there, expected in ((True, "bf16"), (False, "fp32")):
        monkeypatch.setattr("benchmarks.speed.published.computes_bf16", lambda there=there: there)
        assert float_precision("openvino", "int8") == expected


def test_a_start_is_timed_in_processes_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.speed.published._STARTUP_RUNS", 1)
    startup = measure_startup()
    assert len(startup.seconds) == 1
    assert startup.seconds[0] > 0.05
    assert startup.peak_rss_bytes is None or startup.peak_rss_bytes > 2**24


def test_every_subject_has_the_key_by_which_it_is_found(tmp_path: Path) -> None:
    found: dict[bool, set[str]] = {}
    for everything in (False, True):
        main = main_specs(tmp_path / VIT_B, everything=everything)
        series = series_specs(tmp_path / VIT_B, threads=[1, 2], everything=everything)
        keys = [make_subject(spec).key for spec in (*main, *series)]
        assert len(set(keys)) == len(keys)
        found[everything] = set(keys)
        assert {ONNX_FP32, BEST, TEXT_150, SAM_CLIP_TORCH, SAM_CLIP_ONNX} <= set(keys)
        assert "samclip-tiny-openvino-int8-label" in keys
    assert found[False] < found[True]
    assert f"{BEST}-boxes" in found[True]


def test_the_encoder_is_measured_at_every_resolution_with_all_threads(tmp_path: Path) -> None:
    specs = series_specs(tmp_path / VIT_B, threads=[1, 2], everything=True)
    sizes = {spec.partition("threads=")[2] for spec in specs if "skill=encoder" in spec}
    assert sizes == {"1,resolutions=1024", f"2,resolutions={'+'.join(map(str, RESOLUTIONS))}"}
