"""What people see: the tables of both pages, the README's, and the chart."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from benchmarks.speed.measure import summarize
from benchmarks.speed.record import Failure, Speed
from benchmarks.speed.report import (
    draw_chart,
    render_default,
    render_subjects,
    render_summary,
    render_vit_b,
)
from tests.benchmarks.speed.example_speed import (
    cells,
    default_speed,
    speed_of,
    subject_row,
    vit_b_speed,
    workload_row,
)


@pytest.fixture
def speed() -> Speed:
    record = speed_of(
        subject_row("ours", workload_row("encode", 80, 90), workload_row("text3", 123.4, 123.4)),
        subject_row("peer", workload_row("encode", 170, 170), steps={}),
        failures=(
            Failure(subject="gone", at="open", reason="ModuleNotFoundError: no gone"),
            Failure(subject="peer", at="text3", reason="ValueError: not I"),
        ),
    )
    return record.model_copy(
        update={"settings": record.settings.model_copy(update={"baseline": "ours"})}
    )


def test_the_table(speed: Speed) -> None:
    text = render_subjects(speed)
    # What no subject was measured at has no column.
    assert "| | precision | encode, ms | text-to-mask, ms | load, s |" in text
    assert cells(text, "ours") == ["fp32", "85", "123", "0.60", "100", "18"]
    assert cells(text, "peer")[1:3] == ["170, 2.00× (1.89–2.12)", "–"]
    assert cells(text, "gone") == ["failed", *"–––––"]
    assert "- gone, open: failed, ModuleNotFoundError: no gone" in text
    assert "- peer, text3: failed, ValueError: not I" in text
    assert text.count("step by step") == 1
    assert "onnxruntime 1.20" in text
    assert "Ratios are to ours." in text
    assert "2 rounds" in text


@pytest.mark.parametrize(("runs", "tail"), [(1, ""), (10, "; 90 / 90")])
def test_tails_are_of_twenty_runs_or_more(runs: int, tail: str) -> None:
    steps = {"image_encoder": summarize([[80.0] * runs, [90.0] * runs])}
    text = render_subjects(speed_of(subject_row("ours", workload_row("encode", 1), steps=steps)))
    assert f"| ours | 85 (80–90){tail} |" in text


def test_a_baseline_that_was_not_measured_is_told(speed: Speed) -> None:
    settings = speed.settings.model_copy(update={"baseline": "gone"})
    text = render_subjects(speed.model_copy(update={"settings": settings}))
    assert "The baseline, gone, was not measured." in text
    assert cells(text, "peer")[1] == "170"


def test_the_chart(speed: Speed) -> None:
    drawn = draw_chart(speed)
    assert drawn == draw_chart(speed)
    with Image.open(io.BytesIO(drawn)) as image:
        assert image.format == "PNG"
        assert len(image.convert("RGB").getcolors(1 << 16) or ()) > 2
    with pytest.raises(ValueError, match="nothing to draw"):
        draw_chart(speed_of())


def test_the_page_of_the_default_model() -> None:
    tables = render_default(default_speed())
    assert ">= 8× | 7.22× (6.00–8.75), openvino int8 | within the spread |" in tables["bars"]
    assert tables["subjects"].startswith("![Medians of every subject](images/speed.png)\n\n| |")
    assert "| picture to masks, ms |" in tables["subjects"]
    row = "| samclip-mobile-openvino-int8 | 45 (40–50) | 22.2 | 60.0 % (50.0–70.0) | 0.9800 |"
    assert row in tables["runs"]
    assert "k150" not in tables["runs"]
    assert "yoloe" not in tables["runs"]


def test_what_was_not_measured_is_told() -> None:
    assert render_default(speed_of())["subjects"] == "Nothing was measured yet.\n"
    assert render_summary(speed_of()) == "Nothing was measured yet.\n"
    assert render_vit_b(speed_of())["shares"] == "Nothing was measured yet.\n"


def test_the_page_of_vit_b() -> None:
    tables = render_vit_b(vit_b_speed())
    assert "of that of 3 | <= 1.5× | 1.50× (1.40–1.60) | within the spread |" in tables["bars"]
    assert "| image_encoder | 700.00 | 240.50 | 90.0 | 380 | 110 |" in tables["costs"]
    share = "| image_encoder | openvino int8 | bf16 | 1000 (950–1050) | 740 | 62% | 82% | compute |"
    assert share in tables["shares"]
    assert "| vit-t1-encoder | – | 4800 (4700–4900) |" in tables["image_encoder"]
    assert "| vit-t2-encoder | 300 | 2500 (2400–2600) |" in tables["image_encoder"]
    assert "| vit-boxes | 2000 (1900–2100) |" in tables["boxes"]


def test_the_readmes_table() -> None:
    speed = default_speed()
    text = render_summary(speed)
    assert cells(text, "the samclip-mobile-openvino-int8, fp32") == ["45", "–", "100", "18"]
    assert cells(text, "the samclip-mobile-onnx-fp32, fp32")[:2] == ["65", "1.44× (1.20–1.75)"]
    mobile_sam = "the mobile-sam, fp32: its image encoder alone"
    assert cells(text, mobile_sam)[:2] == ["325", "7.22× (6.00–8.75)"]
    fewer = render_summary(speed_of(*speed.subjects[:1]))
    assert cells(fewer, "the samclip-mobile-onnx-fp32, fp32")[:2] == ["65", "–"]
    assert fewer.count("onnx-fp32") == 1
    assert cells(fewer, "yoloe-11s-seg-k10") == ["not measured", "–", "–", "–"]
