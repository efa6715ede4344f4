"""Weights are stored once, in fp16 where that is asked, and mean the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import pytest
import torch
from torch import Tensor, nn

from export.external_weights import WeightFiles, halve_weights
from export.program import export_program
from export.to_onnx import data_dependent_operators, to_onnx
from samclip_sdk.graph_spec import TensorSpec


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


def export(module: nn.Module) -> ir.Model:
    program = export_program(
        module,
        example={"ids": torch.zeros(3, 48, dtype=torch.int32)},
        dynamic_axes={"ids": {0: "n"}},
    )
    return to_onnx(
        program,
        inputs=[TensorSpec(name="ids", dtype="int32", shape=("n", 48))],
        outputs=[TensorSpec(name="y", dtype="float32", shape=("n", 48, 48))],
    )


def export_static(module: nn.Module, *, example: Tensor) -> ir.Model:
    return to_onnx(
        export_program(module, example={"x": example}, dynamic_axes={}),
        inputs=[TensorSpec(name="x", dtype="float32", shape=tuple(example.shape))],
        outputs=[TensorSpec(name="y", dtype="float32", shape=())],
    )


def save(model: ir.Model, folder: Path, *, name: str, store: WeightFiles) -> Path:
    store.move_out(model)
    path = folder / f"{name}.onnx"
    ir.save(model, path)
    return path


def run(path: Path) -> np.ndarray:
    ids = np.arange(48, dtype=np.int32)[None]
    return ort.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {"ids": ids})[0]


def test_two_graphs_store_their_weights_once(module: Lookup, tmp_path: Path) -> None:
    sizes = []
    for names in (("first",), ("second", "third")):
        folder = tmp_path / names[0]
        folder.mkdir()
        with WeightFiles(folder, part="shared") as store:
            paths = [save(export(module), folder, name=name, store=store) for name in names]
        sizes.append((folder / "shared.weights").stat().st_size)
    assert sizes[0] == sizes[1]
    expected = module(torch.arange(48, dtype=torch.int32)[None]).numpy()
    for path in paths:
        np.testing.assert_allclose(run(path), expected, atol=1e-5)


def test_fp16_storage_computes_in_fp32(module: Lookup, tmp_path: Path) -> None:
    model = export(module)
    halve_weights(model)
    types = {
        tuple(value.const_value.shape): value.const_value.dtype
        for value in model.graph.initializers.values()
        if value.const_value is not None
    }
    assert types[(64, 32)] == ir.DataType.FLOAT16
    assert types[(32, 48)] == ir.DataType.FLOAT16
    assert types[(48, 48)] == ir.DataType.FLOAT  # an addend, such as absolute positions
    assert {output.dtype for output in model.graph.outputs} == {ir.DataType.FLOAT}
    with WeightFiles(tmp_path, part="half") as store:
        path = save(model, tmp_path, name="half", store=store)
    expected = module(torch.arange(48, dtype=torch.int32)[None]).numpy()
    difference = np.abs(run(path) - expected).max()
    assert 0 < difference < 5e-3


def test_a_graph_needs_the_weights_of_its_own_types(module: Lookup, tmp_path: Path) -> None:
    half = export(module)
    halve_weights(half)
    with WeightFiles(tmp_path, part="shared") as store:
        assert store.move_out(export(module)) == ("shared.weights",)
        assert set(store.move_out(half)) == {"shared.weights", "shared.fp16.weights"}
    assert {path.name for path in tmp_path.iterdir()} == {"shared.weights", "shared.fp16.weights"}


def test_weights_beyond_fp16_stay() -> None:
    module = nn.Linear(32, 48).requires_grad_(False)
    module.weight[0, 0] = 1e5
    model = export_static(module, example=torch.zeros(2, 32))
    halve_weights(model)
    types = {v.const_value.dtype for v in model.graph.initializers.values() if v.const_value}
    assert ir.DataType.FLOAT16 not in types


def test_data_dependent_operators_are_found() -> None:
    class Holes(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.nonzero(x)

    model = export_static(Holes(), example=torch.ones(4, 4))
    assert data_dependent_operators(model) == {"NonZero"}
