"""ONNX files have the contract's names and axes, and an fp16 program stays one."""

from __future__ import annotations

import functools
from collections import Counter
from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import pytest
from torch.export import ExportedProgram

from export.precision.mixed_precision import contract_operations, halve
from export.precision.program_interpreter import run_program
from export.to_onnx import to_onnx
from tests.export.tiny_programs import tiny_graphs, tiny_program

RNG = np.random.default_rng(11)
FEEDS = {
    "image_encoder@64": {"image": RNG.integers(0, 256, (1, 3, 64, 64)).astype(np.uint8)},
    "clip_head@64": {
        "image_tokens": RNG.normal(size=(1, 32, 8, 8)).astype(np.float32),
        "token_mask": np.tri(8, 8, 2, dtype=np.float32)[None],
    },
    "mask_decoder": {
        "image_embeddings": RNG.normal(size=(1, 32, 8, 8)).astype(np.float32),
        "sparse_embeddings": RNG.normal(size=(4, 3, 32)).astype(np.float32),
        "sparse_mask": np.array([[1, 1, 0]] * 4, dtype=np.float32),
        "dense_embeddings": RNG.normal(size=(4, 32, 8, 8)).astype(np.float32),
    },
    # Of another length than the context's, which the program was traced with.
    "text_encoder": {"input_ids": np.array([[1, 5, 9, 7, 49407]] * 4, dtype=np.int32)},
}

IN_FP32 = ("image_encoder@64", "clip_head@64", "text_encoder")
"""The export of the tiny bundle holds its mask decoder to the same."""


@functools.cache
def program_of(name: str, precision: str) -> ExportedProgram:
    program = tiny_program(name)
    return program if precision == "fp32" else halve(program, pinned=contract_operations(program))


@functools.cache
def model_of(name: str, precision: str) -> ir.Model:
    graph = tiny_graphs()[name]
    program = program_of(name, precision)
    return to_onnx(program, inputs=graph.traced_inputs(), outputs=graph.outputs)


def operators(model: ir.Model) -> Counter[str]:
    return Counter(node.op_type for node in model.graph)


@pytest.mark.parametrize(
    ("name", "precision"),
    [
        *((name, "fp32") for name in IN_FP32),
        *((name, "fp16") for name in FEEDS if name != "mask_decoder"),
        pytest.param("mask_decoder", "fp16", marks=pytest.mark.slow),
    ],
)
def test_answers_are_the_programs(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], name: str, precision: str
) -> None:
    path = tmp_path / "graph.onnx"
    ir.save(model_of(name, precision), path)
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    graph = tiny_graphs()[name]
    for side, specs in (
        (session.get_inputs(), graph.traced_inputs()),
        (session.get_outputs(), graph.outputs),
    ):
        assert [(t.name, tuple(t.shape)) for t in side] == [(s.name, s.shape) for s in specs]
    names = [spec.name for spec in graph.outputs]
    expected = run_program(program_of(name, precision), FEEDS[name], outputs=names)
    bound = 1e-4 if precision == "fp32" else 5e-3
    for output, found in zip(names, session.run(names, FEEDS[name]), strict=True):
        assert found.dtype == np.float32
        scale = np.abs(expected[output]).max()
        assert np.abs(found - expected[output]).max() <= bound * scale
    assert capfd.readouterr().err == ""  # onnxruntime warns of constants that it cannot fold


@pytest.mark.parametrize("name", IN_FP32)
def test_onnxruntime_knows_gelu(tmp_path: Path, name: str) -> None:
    path, optimized = tmp_path / "graph.onnx", tmp_path / "optimized.onnx"
    model = model_of(name, "fp32")
    ir.save(model, path)
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(optimized)
    options.log_severity_level = 3  # it warns that the file is for this machine
    ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    found = operators(ir.load(optimized))
    assert "Erf" not in found
    assert found["Gelu"] + found["BiasGelu"] == operators(model)["Erf"] > 0
