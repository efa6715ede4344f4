"""What is told of ViT-B beside its times."""

from __future__ import annotations

import pytest

from benchmarks.speed import vit_b
from benchmarks.speed.measure import summarize
from benchmarks.speed.published import BEST, ONNX_FP32, TEXT_150
from benchmarks.speed.vit_b import float_precision, shares_of_sets
from tests.benchmarks.speed.example_speed import (
    ENCODER,
    machine,
    spread,
    subject_row,
    workload_row,
)

RUNS = (("onnx", "fp32"), ("openvino", "int8"))


def test_a_share_is_of_all_subjects_that_run_the_graph() -> None:
    times = {BEST: 300.0, f"{BEST}-k30": 200.0, TEXT_150: 250.0, ONNX_FP32: 700.0}
    rows = [
        subject_row(key, workload_row("three_ways", ms), steps={"image_encoder": summarize([[ms]])})
        for key, ms in times.items()
    ]
    cost = ENCODER.model_copy(update={"weight_flop": 100_000_000_000, "attention_flop": 0})
    peaks = machine(fp32=800, bf16=800, int8=800)
    found = shares_of_sets(rows, runs=RUNS, costs=[cost], machine=peaks)
    shares = {(each.runtime, each.precision): each for each in found}
    assert set(shares) == {("openvino", "int8"), ("onnx", "fp32")}
    assert shares["openvino", "int8"].spread == spread(250, 200, 300)
    assert shares["openvino", "int8"].of_peak == pytest.approx(0.5)
    assert shares["onnx", "fp32"].spread == spread(700, 700, 700)


def test_what_int8_leaves_in_float(monkeypatch: pytest.MonkeyPatch) -> None:
    assert float_precision("onnx", "int8") == "fp32"
    assert float_precision("openvino", "bf16") == "bf16"
    for there, expected in ((True, "bf16"), (False, "fp32")):
        monkeypatch.setattr(vit_b, "computes_bf16", lambda there=there: there)
        assert float_precision("openvino", "int8") == expected
