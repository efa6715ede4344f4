from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import pytest

from benchmarks.speed import vit_b
from benchmarks.speed.costs import Cost, count_graphs
from benchmarks.speed.machine_limits import COPY_BYTES, MachineLimits, int8_product
from benchmarks.speed.measure import Subject
from benchmarks.speed.vit_b import add_limits, add_share, float_precision
from benchmarks.suite import Measuring
from samclip_sdk.modeling.build import build_model
from samclip_sdk.system.timing import WorkloadRuns
from tests.benchmarks.measured import measure
from tests.tiny_config import STUDENT

BEST = {"fp32": 100e9, "int8": 400e9, "copy": 20e9}


def costs(*, resolution: int = 64) -> dict[str, Any]:
    return {cost.graph: cost for cost in count_graphs(STUDENT, resolution=resolution)}


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


def test_text_encoder_by_hand() -> None:
    length, width, vocabulary, narrow = 77, 32, 49408, 8
    layer = 2 * length * width * 12 * width + 2 * 2 * length**2 * width
    up, projection = 2 * length * narrow * width, 2 * width * 16
    last_token = 2 * length * width  # picked by a product, with nothing that depends on data
    cost = costs()["text_encoder"]
    assert cost.flop == up + layer + last_token + projection
    encoder = build_model(STUDENT).text_encoder
    whole = sum(parameter.numel() for parameter in encoder.parameters())
    assert cost.parameters == whole - vocabulary * narrow
    assert cost.moved_bytes("fp16") == 2 * cost.parameters + 4 * (length + 16)


def test_the_resolution_counts() -> None:
    assert costs(resolution=128)["clip_head"].flop > 4 * costs()["clip_head"].flop
    with pytest.raises(ValueError, match="resolution 65 is not a positive multiple"):
        costs(resolution=65)


def share(cost: Cost, *times_ms: float, precision: str) -> Any:
    """Of subjects of which each ran the graph once."""
    key, subjects = f"samclip-vit-b-onnx-{precision}", []
    for place, ms in enumerate(times_ms):
        subject = Subject("", opened=[{"key": f"{key}{f'-k{place}' if place else ''}"}])
        subject.steps[cost.graph].append([ms])
        subjects.append(subject)
    part = measure(add_share, cost, subjects, run=("onnx", precision), best=BEST)
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


def test_limits_are_the_best_of_what_was_tried() -> None:
    """Of all sizes and rounds, the fastest run of a precision counts."""
    machine = Subject("machine")
    times = {"fp32 torch 1000": [[9.0, 2.0], [4.0]], "fp32 torch 100": [[1.0]], "copy": [[100.0]]}
    for name, rounds in times.items():
        machine.runs[name] = [WorkloadRuns(50.0, samples, None) for samples in rounds]
    found: dict[str, float] = {}

    def work(measured: Measuring) -> None:
        found.update(add_limits(measured, machine))

    part = measure(work)
    assert found == {"fp32": pytest.approx(1e12), "copy": pytest.approx(2 * COPY_BYTES / 0.1)}
    assert part.value("machine", "gflops", "fp32 torch 100") == pytest.approx(2)


def test_every_precision_is_tried() -> None:
    workloads = MachineLimits(threads=1, sizes=32).open().workloads
    assert [*workloads] == ["fp32 torch 32", "bf16 torch 32", "int8 onnxruntime 32", "copy"]
    for run in workloads.values():
        run()


def test_int8_product_multiplies_in_int8() -> None:
    left, right = np.random.default_rng(1).standard_normal((2, 64, 64), dtype=np.float32)
    model = int8_product(right)
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    product = session.run(None, {"left": left})[0]
    exact = left @ right
    assert 0 < np.abs(product - exact).max() < 0.05 * np.abs(exact).max()
