"""What people see: the table, the chart, and two files compared."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from benchmarks.speed.compare import Ratio, exact, render_comparison
from benchmarks.speed.measure import summarize
from benchmarks.speed.record import Failure, Speed
from benchmarks.speed.report import draw_chart, render_subjects
from tests.benchmarks.speed.example_speed import (
    DEVICE,
    speed_of,
    spread,
    subject_row,
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


def cells(text: str, first: str) -> list[str]:
    line = next(line for line in text.splitlines() if line.startswith(f"| {first} |"))
    return [cell.strip() for cell in line.split("|")][2:-1]


def test_the_table(speed: Speed) -> None:
    text = render_subjects(speed)
    assert cells(text, "ours") == ["fp32", "85", "–", "–", "123", "–", "0.60", "100", "18"]
    assert cells(text, "peer")[1:5] == ["170, 2.00× (1.89–2.12)", "–", "–", "–"]
    assert cells(text, "gone") == ["failed", *"––––––––"]
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


def test_a_ratio_takes_the_worst_of_both_spreads() -> None:
    ratio = Ratio.of(spread(30, 20, 40), spread(10, 8, 10))
    assert (ratio.middle, ratio.low, ratio.high) == (3, 2, 5)
    assert ratio.text() == "3.00× (2.00–5.00)"
    assert Ratio.of(spread(0.123, 0.1, 0.2), spread(10, 10, 10)).text() == "0.0123× (0.0100–0.0200)"
    assert Ratio.of(exact(7), exact(2)).text() == "3.50×"
    unknown = Ratio.of(spread(30, None, None), spread(10, 8, 10))
    assert (unknown.text(), unknown.verdict) == ("3.00×", "its spread is unknown")


@pytest.mark.parametrize(
    ("after", "row"),
    [
        ((40.0, 45.0), ["encode", "85", "42.5", "0.500× (0.444–0.562)", "faster"]),
        ((82.0, 92.0), ["encode", "85", "87", "1.02× (0.911–1.15)", "within the spread"]),
        ((180.0, 180.0), ["encode", "85", "180", "2.12× (2.00–2.25)", "slower"]),
    ],
)
def test_comparisons(speed: Speed, after: tuple[float, ...], row: list[str]) -> None:
    other = speed_of(
        subject_row("ours", workload_row("encode", *after), workload_row("point", 1, 1))
    )
    text = render_comparison(speed, other)
    assert cells(text, "ours") == row
    assert "Not alike" not in text


def test_what_is_not_alike_is_told(speed: Speed) -> None:
    device = DEVICE.model_copy(update={"cpu": "Another", "told": {}})
    changed = subject_row(
        "ours",
        workload_row("encode", 9, 9),
        precision="int8",
        package_versions={"onnxruntime": "1.21"},
    )
    text = render_comparison(speed, speed_of(changed, device=device))
    for what in (
        "the device's cpu: A CPU and Another",
        "the device's governor: performance and None",
        "ours, precision: fp32 and int8",
        "ours, version of onnxruntime: 1.20 and 1.21",
    ):
        assert f"**Not alike**: {what}" in text


def test_the_only_subjects_are_compared_whatever_their_keys() -> None:
    one, two = (speed_of(subject_row(key, workload_row("encode", 10, 10))) for key in "ab")
    assert cells(render_comparison(one, two), "a → b")[3] == "1.00×"


def test_files_that_share_nothing_are_refused(speed: Speed) -> None:
    other = speed_of(subject_row("theirs", workload_row("encode", 9)))
    with pytest.raises(ValueError, match="share no subject and workload: ours, peer and theirs"):
        render_comparison(speed, other)
