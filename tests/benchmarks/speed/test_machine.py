from __future__ import annotations

import signal
import sys
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

from benchmarks.speed import vit_b
from benchmarks.speed.measure import Subject
from benchmarks.speed.vit_b import (
    Cost,
    Machine,
    Peak,
    add_share,
    count_graphs,
    float_precision,
    measure_peaks,
)
from samclip_sdk.modeling.build import build_model
from samclip_sdk.modeling.config import ModelConfig
from tests.benchmarks.measured import measure
from tests.tiny_config import STUDENT

MACHINE = Machine(
    (Peak("fp32", "torch", 1024, 100), Peak("int8", "openvino", 2048, 400)), bandwidth_gbps=20
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
    assert cost.weight_flop + cost.attention_flop == texts * (up + layer + last_token + projection)
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
    assert four["mask_decoder"].weight_flop == 4 * one["mask_decoder"].weight_flop
    assert four["mask_decoder"].attention_flop == 4 * one["mask_decoder"].attention_flop
    assert four["image_encoder"] == one["image_encoder"]
    assert costs(points=8)["mask_decoder"].weight_flop > one["mask_decoder"].weight_flop
    larger = costs(resolution=128)
    flop = [
        each["clip_head"].weight_flop + each["clip_head"].attention_flop for each in (larger, one)
    ]
    assert flop[0] > 4 * flop[1]
    with pytest.raises(ValueError, match="resolution 65 is not a positive multiple"):
        costs(resolution=65)


def share(cost: Cost, *times_ms: float, precision: str) -> Any:
    """Of subjects of which each ran the graph once."""
    key, subjects = f"samclip-vit-b-onnx-{precision}", []
    for place, ms in enumerate(times_ms):
        subject = Subject("", opened=[{"key": f"{key}{f'-k{place}' if place else ''}"}])
        subject.steps[cost.graph].append([ms])
        subjects.append(subject)
    run = ("onnx", precision)
    part = measure(add_share, cost, subjects, run=run, machine=MACHINE)
    return part.metrics(key, f"{cost.graph} of the machine")


def test_shares_by_hand() -> None:
    compute = Cost("image_encoder", 4_000_000_000, 1_000_000_000, 1_000_000, 0)
    found = share(compute, 100, 60, 140, precision="fp32")
    assert (found["ms"].value, found["ms"].low, found["ms"].high) == (100, 60, 140)
    assert found["gflops"].value == pytest.approx(50)
    assert found["of_peak"].value == pytest.approx(0.5)
    assert found["limit_ms"].value == pytest.approx(50)
    memory = Cost("clip_head", 1_000_000, 0, 9_000_000, 4_000_000)
    found = share(memory, 4, precision="fp32")
    assert found["memory_ms"].value == pytest.approx(2)
    assert found["limit_ms"].value < 0.1
    mixed = share(compute, 100, precision="int8")  # attention in fp32
    assert mixed["of_peak"].value == pytest.approx(5e9 / 400e9 / 0.1)
    assert mixed["limit_ms"].value == pytest.approx(1000 * (4e9 / 400e9 + 1e9 / 100e9))


def test_what_int8_leaves_in_float(monkeypatch: pytest.MonkeyPatch) -> None:
    assert float_precision("onnx", "int8") == "fp32"
    assert float_precision("openvino", "bf16") == "bf16"
    for there, expected in ((True, "bf16"), (False, "fp32")):
        monkeypatch.setattr(vit_b, "computes_bf16", lambda there=there: there)
        assert float_precision("openvino", "int8") == expected


def test_peaks_are_the_best_of_what_was_tried() -> None:
    before = torch.get_num_threads()
    machine = measure_peaks(threads=1, sizes=(32, 64), repeats=2, copy_bytes=2**20)
    assert torch.get_num_threads() == before
    assert machine.bandwidth_gbps > 0
    engines = {(peak.precision, peak.engine) for peak in machine.peaks}
    assert {("fp32", "torch"), ("bf16", "torch"), ("int8", "onnxruntime")} <= engines
    assert machine.best("fp32") == 1e9 * max(
        each.gflops for each in machine.peaks if each.precision == "fp32"
    )


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signal SIGUSR1")
def test_a_signal_is_heard_after_measuring() -> None:
    measure_peaks(threads=1, sizes=(32, 64), repeats=1, copy_bytes=2**20)
    heard: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda number, _: heard.append(number))
    try:
        signal.raise_signal(signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert heard == [signal.SIGUSR1]


def test_peaks_count_operations_not_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vit_b, "_best_seconds", lambda _run, *, repeats: 0.001)
    found = measure_peaks(threads=1, sizes=(32,), repeats=1, copy_bytes=2**20)
    assert found.best("fp32") == pytest.approx(2 * 32**3 / 0.001)
    assert found.bandwidth_gbps == pytest.approx(2 * 2**20 / 0.001 / 1e9)


def test_int8_product_multiplies_in_int8() -> None:
    left, right = np.random.default_rng(1).standard_normal((2, 64, 64), dtype=np.float32)
    model = vit_b.int8_product(right)
    options = onnxruntime.SessionOptions()
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    product = session.run(None, {"left": left})[0]
    exact = left @ right
    assert 0 < np.abs(product - exact).max() < 0.05 * np.abs(exact).max()
