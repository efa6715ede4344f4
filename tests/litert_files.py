"""LiteRT files of a few operations, built from the format's own schema: no converter is needed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import flatbuffers
from ai_edge_litert import schema_py_generated as schema

TYPES = {"float32": 0, "int32": 2, "uint8": 3}
"""numpy's name of a dtype -> the schema's number."""

_SUB, _MUL, _CAST, _RELU = 41, 18, 53, 19


def _tensor(name: str, dtype: str, shape: Sequence[int]) -> Any:
    tensor = schema.TensorT()
    tensor.name, tensor.type, tensor.shape, tensor.buffer = name, TYPES[dtype], list(shape), 0
    return tensor


def _operator(code: int, *, inputs: Sequence[int], outputs: Sequence[int]) -> Any:
    operator = schema.OperatorT()
    operator.opcodeIndex, operator.inputs, operator.outputs = code, list(inputs), list(outputs)
    return operator


def _signature(name: str, *, graph: int, tensors: Sequence[Any], inputs: int) -> Any:
    """The first `inputs` tensors are the inputs; the outputs are all but those named "factor"."""
    signature = schema.SignatureDefT()
    signature.signatureKey, signature.subgraphIndex = name, graph
    signature.inputs, signature.outputs = [], []
    for index, tensor in enumerate(tensors):
        entry = schema.TensorMapT()
        entry.name, entry.tensorIndex = tensor.name, index
        if index < inputs:
            signature.inputs.append(entry)
        elif tensor.name != "factor":
            signature.outputs.append(entry)
    return signature


def _pack(codes: Sequence[int], graphs: Sequence[Any], signatures: Sequence[Any]) -> bytes:
    model = schema.ModelT()
    model.version, model.buffers = 3, [schema.BufferT()]
    model.operatorCodes = []
    for code in codes:
        entry = schema.OperatorCodeT()
        entry.builtinCode = entry.deprecatedBuiltinCode = code
        entry.version = 1
        model.operatorCodes.append(entry)
    model.subgraphs, model.signatureDefs = list(graphs), list(signatures)
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def _graph(tensors: Sequence[Any], operators: Sequence[Any], *, inputs: int) -> Any:
    graph = schema.SubGraphT()
    graph.tensors, graph.operators = list(tensors), list(operators)
    graph.inputs = list(range(inputs))
    graph.outputs = [
        index for index in range(inputs, len(tensors)) if tensors[index].name != "factor"
    ]
    return graph


def identity() -> bytes:
    """One number through a ReLU."""
    tensors = [_tensor("x", "float32", [1]), _tensor("y", "float32", [1])]
    graph = _graph(tensors, [_operator(0, inputs=[0], outputs=[1])], inputs=1)
    return _pack([_RELU], [graph], [_signature("main", graph=0, tensors=tensors, inputs=1)])


def write_arithmetic(
    path: Path,
    *,
    rows: Sequence[int] = (1, 8),
    width: int = 3,
    count_name: str = "count",
    count_type: str = "int32",
    signed: bool = True,
) -> Path:
    """Writes the graph of tests/runtimes/test_sessions.py with a signature for each bucket.

    Inputs and outputs are in another order than the contract's: they are bound by name.
    """
    graphs, signatures = [], []
    for number, count in enumerate(rows):
        tensors = [
            _tensor(count_name, count_type, [1]),
            _tensor("right", "float32", [count, width]),
            _tensor("left", "float32", [count, width]),
            _tensor("factor", "float32", [1]),
            _tensor("product", "float32", [count, width]),
            _tensor("difference", "float32", [count, width]),
        ]
        operators = [
            _operator(0, inputs=[0], outputs=[3]),
            _operator(1, inputs=[2, 3], outputs=[4]),
            _operator(2, inputs=[2, 1], outputs=[5]),
        ]
        operators[1].builtinOptionsType = schema.BuiltinOptions.MulOptions
        operators[1].builtinOptions = schema.MulOptionsT()
        operators[2].builtinOptionsType = schema.BuiltinOptions.SubOptions
        operators[2].builtinOptions = schema.SubOptionsT()
        graphs.append(_graph(tensors, operators, inputs=3))
        signature = _signature(f"rows_{count}", graph=number, tensors=tensors, inputs=3)
        signatures.append(signature)
    path.write_bytes(_pack([_CAST, _MUL, _SUB], graphs, signatures if signed else []))
    return path
