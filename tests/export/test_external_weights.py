"""Weights are stored once, in fp16 where that is asked, and mean the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import pytest
import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from export.external_weights import WeightFiles, halve_weights
from export.program import export_program
from export.to_onnx import to_onnx
from samclip_sdk.bundle.graph_spec import TensorSpec


class Lookup(nn.Module):
    """A table that is gathered from, a product, an addition: each treated differently."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(64, 32)
        self.linear = nn.Linear(32, 48)
        self.shift = nn.Parameter(torch.randn(48, 48))

    def forward(self, ids: Tensor) -> Tensor:
        return self.linear(self.table(ids)) + self.shift[: ids.shape[1]]


@pytest.fixture(scope="module")
def module() -> Lookup:
    torch.manual_seed(0)
    return Lookup().eval().requires_grad_(False)


@pytest.fixture(scope="module")
def program(module: Lookup) -> ExportedProgram:
    return export_program(
        module,
        example={"ids": torch.zeros(3, 48, dtype=torch.int32)},
        dynamic_axes={"ids": {0: "n"}},
    )


def export(program: ExportedProgram) -> ir.Model:
    return to_onnx(
        program,
        inputs=[TensorSpec(name="ids", dtype="int32", shape=("n", 48))],
        outputs=[TensorSpec(name="y", dtype="float32", shape=("n", 48, 48))],
    )


def export_static(module: nn.Module, *, example: Tensor) -> ir.Model:
    return to_onnx(
        export_program(module, example={"input": example}, dynamic_axes={}),
        inputs=[TensorSpec(name="input", dtype="float32", shape=tuple(example.shape))],
        outputs=[TensorSpec(name="y", dtype="float32", shape=tuple(module(example).shape))],
    )


def types_of(model: ir.Model) -> dict[tuple[object, ...], ir.DataType]:
    """How weights of each shape are stored."""
    stored = (value.const_value for value in model.graph.initializers.values())
    return {tuple(each.shape): each.dtype for each in stored if each is not None}


def run(path: Path) -> np.ndarray:
    """On onnxruntime, and from the files alone."""
    ids = np.arange(48, dtype=np.int32)[None]
    return ort.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {"ids": ids})[0]


def test_factors_and_tables_are_stored_in_fp16(program: ExportedProgram) -> None:
    model = export(program)
    halve_weights(model)
    types = types_of(model)
    assert types[(64, 32)] == ir.DataType.FLOAT16
    assert types[(32, 48)] == ir.DataType.FLOAT16
    assert types[(48, 48)] == ir.DataType.FLOAT  # an addend, such as absolute positions
    assert {output.dtype for output in model.graph.outputs} == {ir.DataType.FLOAT}


def test_depthwise_weights_and_biases_stay_in_fp32() -> None:
    """In fp16 the former alone took samclip-mobile's tokens out of their bounds."""
    wide, depthwise = nn.Conv2d(8, 64, 3), nn.Conv2d(64, 64, 5, groups=64)
    long = nn.Conv2d(64, 1280, 1)
    module = nn.Sequential(wide, depthwise, long).eval().requires_grad_(False)
    model = export_static(module, example=torch.zeros(1, 8, 16, 16))
    halve_weights(model)
    types = types_of(model)
    assert types[(64, 8, 3, 3)] == ir.DataType.FLOAT16
    assert types[(64, 1, 5, 5)] == ir.DataType.FLOAT
    assert types[(1280, 64, 1, 1)] == ir.DataType.FLOAT16
    assert types[(1280,)] == ir.DataType.FLOAT


def test_a_set_needs_no_weight_of_another(
    module: Lookup, program: ExportedProgram, tmp_path: Path
) -> None:
    """Both have the addend in fp32; the table and the factor are of each one's own."""
    half = export(program)
    halve_weights(half)
    with WeightFiles(tmp_path, part="shared") as store:
        store.add(export(program), name="single.onnx", precision="fp32")
        store.add(half, name="half.onnx", precision="int8")
        needed = store.write()
    own, common = ("shared.fp32.weights", "shared.int8.weights"), "shared.fp32-int8.weights"
    assert {name: set(files) for name, files in needed.items()} == {
        "single.onnx": {own[0], common},
        "half.onnx": {own[1], common},
    }
    elements = 64 * 32 + 32 * 48
    sizes = [(tmp_path / name).stat().st_size for name in (*own, common)]
    assert sizes == [4 * elements, 2 * elements, 4 * 48 * 48]
    expected = module(torch.arange(48, dtype=torch.int32)[None]).numpy()
    np.testing.assert_allclose(run(tmp_path / "single.onnx"), expected, atol=1e-5)
    np.testing.assert_allclose(run(tmp_path / "half.onnx"), expected, atol=5e-3)


def test_weights_beyond_fp16_stay() -> None:
    module = nn.Linear(32, 48).requires_grad_(False)
    module.weight[0, 0] = 1e5
    model = export_static(module, example=torch.zeros(2, 32))
    halve_weights(model)
    assert ir.DataType.FLOAT16 not in types_of(model).values()
