"""What a caller may ask of a runtime: checked when it is asked, refused by name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from samclip_sdk.runtimes.options import RuntimeOptions, device_index, why_refused

RUNTIMES = ("onnx", "openvino", "coreml", "tensorrt", "litert", "executorch", "torch")


def test_any_whole_number_and_any_sequence_will_do() -> None:
    options = RuntimeOptions(threads=np.int64(3), providers=["A", "B"])
    assert (options.threads, options.providers) == (3, ("A", "B"))
    assert options == RuntimeOptions(threads=3, providers=("A", "B"))


@pytest.mark.parametrize(
    ("options", "takers"),
    [
        ({"threads": 1}, {"onnx", "openvino", "litert"}),
        ({"providers": ["CPUExecutionProvider"]}, {"onnx"}),
        ({"compute_units": "cpu_only"}, {"coreml"}),
        ({"device": "cpu"}, {"onnx", "openvino", "litert", "executorch", "torch"}),
        ({"device": "cuda"}, {"onnx", "tensorrt", "torch"}),
        ({"device": "cuda:0"}, {"onnx", "tensorrt", "torch"}),
        ({"device": "cuda:1"}, {"onnx", "torch"}),
        ({"device": "mps"}, {"torch"}),
        ({"device": "cpu", "threads": 2}, {"onnx", "openvino", "litert"}),
    ],
)
def test_who_takes_what(options: dict[str, Any], takers: set[str]) -> None:
    asked = RuntimeOptions(**options)
    refusals = {runtime: why_refused(runtime, options=asked) for runtime in RUNTIMES}
    assert {runtime for runtime, reason in refusals.items() if not reason} == takers
    for runtime, reason in refusals.items():
        assert not reason or reason.startswith(f"{runtime} does not take ")
        assert not reason or any(f" {name}=" in reason for name in options)


@pytest.mark.parametrize(("device", "index"), [("cuda", 0), ("cuda:0", 0), ("cuda:12", 12)])
def test_the_number_of_a_device(device: str, index: int) -> None:
    assert device_index(device) == index
