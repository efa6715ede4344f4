"""Ratios with their spread, and two records compared."""

from __future__ import annotations

import pytest

from benchmarks.speed.bars import Ratio, exact, render_comparison
from benchmarks.speed.record import Speed
from tests.benchmarks.speed.example_speed import (
    DEVICE,
    cells,
    speed_of,
    spread,
    subject_row,
    workload_row,
)


@pytest.fixture
def speed() -> Speed:
    return speed_of(
        subject_row("ours", workload_row("encode", 80, 90), workload_row("text3", 123.4, 123.4)),
        subject_row("peer", workload_row("encode", 170, 170)),
    )


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
