"""How many steps an export has, and that a caller hears of each."""

from __future__ import annotations

import pytest

from export.options import ExportOptions
from export.steps import count_steps


@pytest.mark.parametrize(
    ("asked", "random_weights", "total"),
    [
        # eager torch; trace, convert and check each of 7 graphs; those of apps; run the goldens
        (ExportOptions(), True, 1 + 7 + 14 + 2 + 1),
        # eager torch thrice; the stem of bf16 of two encoders; and the set is asked about images
        (ExportOptions(), False, 3 + 7 + 2 + 14 + 2 + 1 + 1),
        # a plan for each graph where anything is in fp16; each precision is converted by itself
        (ExportOptions(onnx=("fp32", "fp16", "int8")), False, 3 + 7 + 2 + 7 + 42 + 4 + 3 + 3),
        (ExportOptions(onnx=(), coreml=("fp16", "int8")), True, 1 + 7 + 7 + 7 + 14 + 3),
        (ExportOptions(onnx=(), coreml=("fp32",)), True, 1 + 14 + 2),
        # LiteRT and ExecuTorch have no graphs of apps, and run their goldens
        (ExportOptions(onnx=(), litert=("fp32", "int8")), False, 3 + 7 + 14 + 2 + 2),
        (ExportOptions(onnx=(), litert=("fp32",), executorch=("fp32",)), True, 1 + 14 + 14 + 2),
    ],
)
def test_the_number_of_steps(asked: ExportOptions, random_weights: bool, total: int) -> None:
    assert count_steps(asked, resolutions=2, random_weights=random_weights) == total
