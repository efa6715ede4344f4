"""The bars beside what was measured, the page, and the parts that run in a moment."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks.__main__ import app
from benchmarks.speed.bars import targets
from benchmarks.speed.machine import float_precision, shares_of
from benchmarks.speed.peaks import MachinePeaks, MatrixPeak
from benchmarks.speed.published_record import (
    Cost,
    EncoderTime,
    Machine,
    Peak,
    Performance,
    PromptTime,
    Share,
    Startup,
)
from benchmarks.speed.published_report import render
from benchmarks.speed.published_subjects import (
    BEST,
    ONNX_FP32,
    SAM_CLIP_TORCH,
    TEXT_150,
    VIT_B,
    specs,
)
from benchmarks.speed.roofline import GraphCost
from benchmarks.speed.subjects import make_subject
from samclip_sdk.timing import Timing
from tests.benchmarks.speed.example_latency import latency_of, subject_row, workload_row


@pytest.fixture
def found() -> Performance:
    latency = latency_of(
        subject_row(
            ONNX_FP32,
            workload_row("encode", 2500),
            workload_row("three_ways", 2900),
            steps={"image_encoder": Timing.of([2400.0])},
        ),
        subject_row(
            BEST,
            workload_row("encode", 1000),
            workload_row("text3", 100),
            workload_row("three_ways", 1200),
        ),
        subject_row(TEXT_150, workload_row("text3", 160)),
        subject_row(
            SAM_CLIP_TORCH, workload_row("encode", 10_000), workload_row("three_ways", 24_000)
        ),
    )
    return Performance(
        latency=latency,
        machine=Machine(
            threads=2,
            peaks=(Peak(precision="int8", engine="openvino", size=2048, gflops=900),),
            bandwidth_gbps=20,
        ),
        costs=(
            Cost(
                graph="image_encoder",
                weight_gflop=700,
                attention_gflop=240.5,
                moved_bytes={"fp32": 380_000_000, "bf16": 200_000_000, "int8": 110_000_000},
            ),
        ),
        shares=(
            Share(
                runtime="openvino",
                precision="int8",
                attention="bf16",
                graph="image_encoder",
                ms=1000,
                gflops=740,
                of_peak=0.62,
                of_limit=0.82,
                bound="compute",
            ),
        ),
        encoders=tuple(
            EncoderTime(runtime="onnx", precision="fp32", threads=threads, resolution=1024, ms=ms)
            for threads, ms in ((1, 4800.0), (2, 2500.0))
        ),
        prompts=(PromptTime(prompts=1, ms=30), PromptTime(prompts=150, ms=2000)),
        startup=Startup(seconds=0.4, peak_rss_bytes=90_000_000),
        tiny_iou={"openvino int8": 0.981},
        tiny_images_per_s={"onnx fp32": 18.0, "openvino int8": 21.0},
    )


def test_bars_are_met_missed_or_not_measured(found: Performance) -> None:
    rows = {(row.name, row.bar): row for row in targets(found)}
    told = {name: (row.found, row.met) for (name, _), row in rows.items()}
    assert told["image encoder fp32 on onnxruntime against SAM in torch"] == ("4.00x", True)
    assert told["best CPU path against SAM in torch"] == (
        "10.00x, 12.20x at the machine's limit",
        True,
    )
    assert told["the same against SAM's plain ONNX export"] == ("", None)
    assert told["share of the machine's limit that the best path's encoder reaches"] == (
        "82%",
        True,
    )
    assert told["three ways in fp32 against SAM + CLIP ViT-L/14 in torch"] == ("8.28x", True)
    assert told["all skills on top of one encode, of the encode, in fp32"] == ("0.21x", False)
    assert told["text-to-mask of 150 classes, 3 of them present, against 3"] == ("1.60x", False)
    assert told["importing and loading samclip-tiny"] == ("0.40 s, 90 MB", True)
    assert told["samclip-tiny, text-to-mask of one label"] == ("21.0 (openvino int8)", True)
    assert told["samclip-tiny on the best path, mean mask IoU with fp32"] == ("0.9810", True)


def test_nothing_measured_meets_nothing(found: Performance) -> None:
    bare = found.model_copy(
        update={"latency": latency_of(), "shares": (), "tiny_iou": {}, "tiny_images_per_s": {}}
    )
    assert {row.met for row in targets(bare)} == {None, True}
    assert [row.name for row in targets(bare) if row.met] == ["importing and loading samclip-tiny"]


def test_the_page(found: Performance, tmp_path: Path) -> None:
    text = render(found)
    assert (
        "| text-to-mask of 150 classes, 3 of them present, against 3 | <= 1.50x | 1.60x | " in text
    )
    assert "| image_encoder | 700.00 | 240.50 | 380 | 110 |" in text
    assert "| image_encoder | openvino int8 | bf16 | 1000.0 | 740 | 62% | 82% | compute |" in text
    assert "| onnx fp32 | 2500 | 4800 |" in text
    assert "| ViT-B, openvino int8, ms | 30 | 2000 |" in text
    source, page = tmp_path / "performance.json", tmp_path / "page.md"
    source.write_text(found.model_dump_json())
    page.write_text("# Page\n<!-- performance -->\nold\n<!-- /performance -->\n")
    readme = tmp_path / "README.md"
    readme.write_text(page.read_text())
    result = CliRunner().invoke(
        app, ["performance-report", str(source), "--page", str(page), "--readme", str(readme)]
    )
    assert result.exit_code == 0, result.output
    assert text in page.read_text()
    assert "| one model, OpenVINO in int8 | 1.2 s (1.0×) | " in readme.read_text()
    assert "| SAM ViT-B and CLIP ViT-L/14, torch in fp32 | 24.0 s (20.0×) | " in readme.read_text()
    assert "| SAM ViT-B and CLIP ViT-L/14, onnxruntime in fp32 | not measured | " in (
        readme.read_text()
    )
    for path in (page, readme):
        assert "old" not in path.read_text()


def test_the_pages_are_of_the_record(tmp_path: Path) -> None:
    """What docs/performance.md and the README show is what docs/performance.json holds."""
    root = Path(__file__).parents[3]
    copies = [tmp_path / "performance.md", tmp_path / "README.md"]
    for path, copy in zip((root / "docs/performance.md", root / "README.md"), copies, strict=True):
        copy.write_text(path.read_text())
    before = [copy.read_text() for copy in copies]
    options = ["--page", str(copies[0]), "--readme", str(copies[1])]
    source = str(root / "docs/performance.json")
    result = CliRunner().invoke(app, ["performance-report", source, *options])
    assert result.exit_code == 0, result.output
    assert [copy.read_text() for copy in copies] == before


def test_a_page_without_a_place_is_refused_before_any_work(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Page\n")
    result = CliRunner().invoke(
        app, ["performance", "--page", str(page), "--folder", str(tmp_path / "none")]
    )
    assert result.exit_code == 1
    assert "no place for the table" in result.stderr
    assert not (tmp_path / "none").exists()


def test_a_share_is_of_all_subjects_that_run_the_graph() -> None:
    times = {BEST: 300.0, f"{BEST}-k30": 200.0, TEXT_150: 250.0, ONNX_FP32: 700.0}
    rows = [
        subject_row(key, workload_row("three_ways", ms), steps={"image_encoder": Timing.of([ms])})
        for key, ms in times.items()
    ]
    cost = GraphCost(
        "image_encoder",
        weight_flop=100_000_000_000,
        attention_flop=0,
        parameters=1,
        activation_bytes=1,
    )
    peaks = MachinePeaks(
        threads=2,
        matrix={
            precision: MatrixPeak(precision=precision, engine="torch", size=1024, gflops=800)
            for precision in ("fp32", "bf16", "int8")
        },
        tried=(),
        bandwidth_gbps=20,
    )
    shares = {
        (each.runtime, each.precision): each
        for each in shares_of(latency_of(*rows), costs=[cost], peaks=peaks)
    }
    assert set(shares) == {("openvino", "int8"), ("onnx", "fp32")}
    assert shares["openvino", "int8"].ms == 250
    assert shares["openvino", "int8"].of_peak == pytest.approx(0.5)
    assert shares["onnx", "fp32"].ms == 700


def test_what_int8_leaves_in_float(monkeypatch: pytest.MonkeyPatch) -> None:
    assert float_precision("onnx", "int8") == "fp32"
    assert float_precision("openvino", "bf16") == "bf16"
    for there, expected in ((True, "bf16"), (False, "fp32")):
        monkeypatch.setattr("benchmarks.speed.machine.computes_bf16", lambda there=there: there)
        assert float_precision("openvino", "int8") == expected


def test_every_subject_has_the_key_by_which_it_is_found(tmp_path: Path) -> None:
    keys = {make_subject(spec).key for spec in specs(tmp_path / VIT_B)}
    assert {ONNX_FP32, BEST, TEXT_150, SAM_CLIP_TORCH} <= keys
    assert len(keys) == len(specs(tmp_path / VIT_B))
