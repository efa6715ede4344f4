from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

from benchmarks.speed import peaks
from benchmarks.speed.peaks import MachinePeaks, MatrixPeak, measure_peaks
from benchmarks.speed.roofline import GraphCost, count_graphs, roofline
from samclip_sdk.modeling.build import build_model
from samclip_sdk.modeling.config import ModelConfig
from tests.student import STUDENT

MACHINE = MachinePeaks(
    threads=1,
    matrix={
        "fp32": MatrixPeak("fp32", "torch", 1024, 100.0),
        "bf16": MatrixPeak("bf16", "openvino", 2048, 400.0),
    },
    tried=(),
    bandwidth_gbps=20.0,
)


def costs(config: ModelConfig = STUDENT, *, resolution: int = 64, **axes: int) -> dict[str, Any]:
    return {cost.graph: cost for cost in count_graphs(config, resolution=resolution, **axes)}


def test_image_encoder_by_hand() -> None:
    """4x4 tokens of width 32; windows of 3 make 36 tokens of them in one layer's attention."""
    tokens, width, neck = 16, 32, 32
    patches = 2 * tokens * width * 3 * 16 * 16

    def attention(queries: int, keys: int, side: int) -> int:
        positions = 2 * 2 * queries * side * width  # by row and by column
        return 2 * 2 * queries * keys * width + positions

    layer = 2 * tokens * width * 4 * width + 2 * 2 * tokens * width * 4 * width
    after = 2 * tokens * neck * width + 2 * tokens * neck * neck * 9
    cost = costs()["image_encoder"]
    assert cost.weight_flop == patches + 2 * layer + after
    assert cost.attention_flop == attention(36, 9, 3) + attention(16, 16, 4)
    # A uint8 picture goes in; float32 tokens and embeddings come out.
    assert cost.activation_bytes == 3 * 64 * 64 + 4 * 16 * (32 + 32)
    encoder = build_model(STUDENT).image_encoder
    assert cost.parameters == sum(parameter.numel() for parameter in encoder.parameters())


@pytest.mark.parametrize("texts", [1, 5])
def test_text_encoder_by_hand(texts: int) -> None:
    length, width, vocabulary, narrow = 77, 32, 49408, 8
    layer = 2 * length * width * 12 * width + 2 * 2 * length**2 * width
    up, projection = 2 * length * narrow * width, 2 * width * 16
    last_token = 2 * length * width  # picked by a product, with nothing that depends on data
    cost = costs(texts=texts)["text_encoder"]
    assert cost.flop == texts * (up + layer + last_token + projection)
    encoder = build_model(STUDENT).text_encoder
    whole = sum(parameter.numel() for parameter in encoder.parameters())
    assert cost.parameters == whole - vocabulary * narrow
    assert cost.moved_bytes("fp16") == 2 * cost.parameters + texts * 4 * (length + 16)


def test_the_axes_count() -> None:
    one, four = costs(), costs(prompts=4)
    assert list(one) == [
        "image_encoder",
        "clip_head",
        "text_encoder",
        "prompt_encoder",
        "mask_decoder",
    ]
    assert four["mask_decoder"].flop == 4 * one["mask_decoder"].flop
    assert four["image_encoder"] == one["image_encoder"]
    assert costs(points=8)["mask_decoder"].flop > one["mask_decoder"].flop
    larger = costs(resolution=128)
    assert larger["clip_head"].flop > 4 * one["clip_head"].flop
    with pytest.raises(ValueError, match="resolution 65 is not a positive multiple"):
        costs(resolution=65)


def test_rows_by_hand() -> None:
    compute = GraphCost("image_encoder", 4_000_000_000, 1_000_000_000, 1_000_000, 0)
    memory = GraphCost("mask_decoder", 1_000_000, 0, 9_000_000, 4_000_000)
    absent = GraphCost("text_encoder", 1, 0, 1, 1)
    times = {"image_encoder": 100.0, "mask_decoder": 4.0, "postprocess": 1.0}
    first, second = roofline(
        [compute, memory, absent], times, machine=MACHINE, precision="fp32", attention="fp32"
    )
    assert (first.cost, first.bound, first.gflops) == (compute, "compute", pytest.approx(50))
    assert (first.of_peak, first.of_limit) == (pytest.approx(0.5), pytest.approx(0.5))
    assert second.bound == "memory"

    (mixed,) = roofline([compute], times, machine=MACHINE, precision="bf16", attention="fp32")
    assert mixed.of_peak == pytest.approx(5e9 / 400e9 / 0.1)
    assert mixed.of_limit == pytest.approx((4e9 / 400e9 + 1e9 / 100e9) / 0.1)
    for precision, attention in (("int8", "fp32"), ("fp32", "int8")):
        with pytest.raises(ValueError, match="no peak was measured in 'int8': there are bf16, fp"):
            roofline([compute], times, machine=MACHINE, precision=precision, attention=attention)


def test_peaks_are_the_best_of_what_was_tried() -> None:
    before = torch.get_num_threads()
    machine = measure_peaks(threads=1, sizes=(32, 64), repeats=2, copy_bytes=2**20)
    assert torch.get_num_threads() == before
    assert machine.threads == 1
    assert machine.bandwidth_gbps > 0
    assert set(machine.matrix) == {"fp32", "bf16", "int8"}
    engines = {(peak.precision, peak.engine) for peak in machine.tried}
    assert {("fp32", "torch"), ("bf16", "torch"), ("int8", "onnxruntime")} <= engines
    assert len(engines) == len(machine.tried)
    for precision, best in machine.matrix.items():
        same = [peak.gflops for peak in machine.tried if peak.precision == precision]
        assert best.gflops == max(same) > 0


def test_peaks_count_operations_not_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peaks, "_best_seconds", lambda _run, *, repeats: 0.001)
    machine = measure_peaks(threads=1, sizes=(32,), repeats=1, copy_bytes=2**20)
    assert machine.matrix["fp32"].gflops == pytest.approx(2 * 32**3 / 0.001 / 1e9)
    assert machine.bandwidth_gbps == pytest.approx(2 * 2**20 / 0.001 / 1e9)


def test_int8_product_multiplies_in_int8() -> None:
    left, right = np.random.default_rng(1).standard_normal((2, 64, 64), dtype=np.float32)
    model = peaks.int8_product(right).SerializeToString()
    options = onnxruntime.SessionOptions()
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    product = session.run(None, {"left": left})[0]
    exact = left @ right
    assert 0 < np.abs(product - exact).max() < 0.05 * np.abs(exact).max()
