"""ONNX weights in files beside the graphs, where resolutions share what they have in common."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import BinaryIO, Literal

import numpy as np
import onnx_ir as ir

WeightPrecision = Literal["fp32", "fp16"]

_INLINE_BYTES = 1024  # shapes, scalars and biases that a runtime wants to see in the graph itself
_HALF_ELEMENTS = 1024
_ALIGNMENT = 64
_MULTIPLIES = frozenset({"MatMul", "Gemm", "Conv", "ConvTranspose"})


class WeightFile:
    """An external-data file in the making; bytes that it already holds are not written again.

    `location` is the file's path relative to the graphs that refer to it, `file` is open for
    writing and empty.
    """

    def __init__(self, location: str, *, file: BinaryIO) -> None:
        self.location = location
        self._file = file
        self._offsets: dict[bytes, int] = {}

    def move_out(self, model: ir.Model) -> None:
        """Writes the model's initializers to the file and makes the model refer to them."""
        for value in model.graph.initializers.values():
            tensor = value.const_value
            if tensor is None or tensor.nbytes < _INLINE_BYTES:
                continue
            value.const_value = ir.ExternalTensor(
                self.location,
                self._store(tensor.tobytes()),
                tensor.nbytes,
                tensor.dtype,
                shape=ir.Shape(tensor.shape.numpy()),
                name=value.name or "",
            )

    def _store(self, data: bytes) -> int:
        """Writes `data` unless the file has it; returns where it starts."""
        digest = hashlib.sha256(data).digest()
        if digest not in self._offsets:
            self._file.write(bytes(-self._file.tell() % _ALIGNMENT))
            self._offsets[digest] = self._file.tell()
            self._file.write(data)
        return self._offsets[digest]


def halve_weights(model: ir.Model) -> None:
    """Stores the large factors of products in fp16; the graph casts them back and computes in fp32.

    Biases, normalisations, absolute positions and Fourier features stay in fp32: they are small,
    and the latter lose pixels in fp16. A weight beyond fp16's range stays too.
    """
    for value in tuple(model.graph.initializers.values()):
        weight = value.const_value
        if weight is None or not _is_product_weight(value, weight=weight):
            continue
        half = ir.Tensor(weight.numpy().astype(np.float16), name=value.name)
        value.const_value, value.dtype = half, ir.DataType.FLOAT16
        consumers = [(use.node, use.idx) for use in value.uses()]
        if consumers[0][0].op_type == "Gather":
            for node, _ in consumers:
                _cast_output(node)
        else:
            _cast_initializer(value, consumers=consumers, graph=model.graph)


def _is_product_weight(value: ir.Value, *, weight: ir.TensorProtocol) -> bool:
    if weight.dtype != ir.DataType.FLOAT or weight.size < _HALF_ELEMENTS:
        return False
    uses = tuple(value.uses())
    multiplied = all(node.op_type in _MULTIPLIES for node, _ in uses)
    gathered = all(node.op_type == "Gather" and index == 0 for node, index in uses)
    return (multiplied or gathered) and float(np.abs(weight.numpy()).max()) <= 65504


def _cast_initializer(
    value: ir.Value, *, consumers: Sequence[tuple[ir.Node, int]], graph: ir.Graph
) -> None:
    cast = ir.node("Cast", [value], attributes={"to": ir.DataType.FLOAT})
    cast.outputs[0].name = f"{value.name}_fp32"
    cast.outputs[0].dtype, cast.outputs[0].shape = ir.DataType.FLOAT, value.shape
    first = next(node for node in graph if any(node is consumer for consumer, _ in consumers))
    graph.insert_before(first, cast)
    for node, index in consumers:
        node.replace_input_with(index, cast.outputs[0])


def _cast_output(node: ir.Node) -> None:
    """Casts what `node` takes from an fp16 table: the table itself is never expanded."""
    half = node.outputs[0]
    users = tuple(half.uses())
    cast = ir.node("Cast", [half], attributes={"to": ir.DataType.FLOAT})
    cast.outputs[0].name = f"{half.name}_fp32"
    cast.outputs[0].dtype, cast.outputs[0].shape = ir.DataType.FLOAT, half.shape
    half.dtype = ir.DataType.FLOAT16
    assert node.graph is not None
    node.graph.insert_after(node, cast)
    for user, index in users:
        user.replace_input_with(index, cast.outputs[0])
