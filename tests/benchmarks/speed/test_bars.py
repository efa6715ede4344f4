"""The bars beside what was measured."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest

from benchmarks.speed.bars import best_path, default_bars, vit_b_bars
from benchmarks.speed.published import DEFAULT_ONNX
from benchmarks.speed.record import Speed
from tests.benchmarks.speed.example_speed import (
    FASTEST,
    default_speed,
    speed_of,
    subject_row,
    vit_b_speed,
    workload_row,
)


def told(bars: Iterable[list[str]]) -> dict[str, tuple[str, str]]:
    return {name: (found, verdict) for name, _, found, verdict in bars}


def test_a_bar_is_met_only_by_the_whole_spread() -> None:
    found = told(vit_b_bars(vit_b_speed()))
    fp32, best = "image encoder in fp32 on onnxruntime", "image encoder on the best CPU path"
    assert found[f"{fp32}, against SAM in torch"] == ("4.00×", "met")
    # The median meets the bar of 10, the slowest round does not.
    assert found[f"{best}, against SAM in torch"] == (
        "10.0× (9.09–11.1), 12.2× at the machine's limit",
        "within the spread",
    )
    assert found[f"{fp32}, against SAM's plain ONNX export"] == ("–", "not measured")
    assert found[f"{best}, of the machine's limit"] == ("82.0 % (78.1–86.3)", "met")
    fp32, best, two = (
        "all three in fp32 on onnxruntime",
        "all three on the best CPU path",
        "SAM and CLIP ViT-L/14 in torch",
    )
    assert found[f"{fp32}, against {two}"] == ("8.28×", "met")
    assert found[f"{best}: peak memory, of {two}"] == ("1.00×", "**missed**")
    rest = "all three but the image encoder, of the image encoder"
    assert found[rest] == ("0.208×", "**missed**")
    assert found["text-to-mask of 150 classes, 3 of them present, of that of 3"] == (
        "1.50× (1.40–1.60)",
        "within the spread",
    )
    assert found["image encoder in fp32 on onnxruntime: peak memory"] == ("90.0 MB", "met")


def test_the_bars_of_the_default_model() -> None:
    own = "text-to-mask"
    masks = f"{own} of three labels, from the picture, on the best CPU path, against"
    start = "importing, loading and the first answer, in fp32 on onnxruntime"
    assert told(default_bars(default_speed())) == {
        f"{masks} YOLOE-11s-seg": ("4.11× (3.60–4.75), openvino int8", "met"),
        f"{masks} CLIPSeg": ("1.00× (0.900–1.12), openvino int8", "within the spread"),
        f"{masks} MobileSAM's image encoder alone": (
            "7.22× (6.00–8.75), openvino int8",
            "within the spread",
        ),
        f"{own} of three labels, of encoding the picture, on the best CPU path": (
            "60.0 % (50.0–70.0), openvino int8",
            "within the spread",
        ),
        f"{own} of 150 labels, 3 of them present, of that of 3, on the best CPU path": (
            "1.14× (0.952–1.40), openvino int8",
            "met",
        ),
        "mask IoU with torch on the best CPU path": ("0.980, openvino int8", "met"),
        start: ("1.20 s (1.10–1.30)", "met"),
        f"{start}: peak memory": ("260 MB", "**missed**"),
    }


def test_the_best_path_is_what_finds_masks_the_fastest() -> None:
    best = best_path(default_speed())
    assert best is not None
    assert best.key == FASTEST
    slow, lacking = workload_row("picture_to_masks", 9), workload_row("encode", 1)
    rows = (subject_row(FASTEST, lacking), subject_row(DEFAULT_ONNX, slow))
    best = best_path(speed_of(*rows, subject_row("peer", workload_row("picture_to_masks", 1))))
    assert best is not None
    assert best.key == DEFAULT_ONNX


@pytest.mark.parametrize("bars", [default_bars, vit_b_bars])
def test_nothing_measured_meets_nothing(bars: Callable[[Speed], Iterable[list[str]]]) -> None:
    assert {verdict for _, verdict in told(bars(speed_of())).values()} == {"not measured"}
