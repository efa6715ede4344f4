"""ONNX weights in files beside the graphs, where resolutions share what they have in common."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
import onnx_ir as ir

WeightPrecision = Literal["fp32", "fp16"]

_INLINE_BYTES = 1024  # shapes, scalars and biases that a runtime wants to see in the graph itself
_HALF_ELEMENTS = 1024
_ALIGNMENT = 64
_SUFFIXES = {ir.DataType.FLOAT16: ".fp16", ir.DataType.INT8: ".int8"}
_MULTIPLIES = frozenset({"MatMul", "Gemm", "Conv", "ConvTranspose"})


class WeightFiles:
    """A part's external-data files in the making, closed at the end of a `with`.

    One for each type of number, so that a device reads those of the precision it runs only:
    `PART.weights` for fp32 and all else, `PART.fp16.weights`, `PART.int8.weights`. Bytes that a
    file already holds are not written again.
    """

    def __init__(self, folder: Path, *, part: str) -> None:
        self._folder = folder
        self._part = part
        self._files: dict[str, _WeightFile] = {}

    def __enter__(self) -> WeightFiles:
        return self

    def __exit__(self, *_: object) -> None:
        for each in self._files.values():
            each.file.close()

    def move_out(self, model: ir.Model) -> tuple[str, ...]:
        """Moves the model's large initializers out; returns the names of the files it needs."""
        needed: dict[str, None] = {}
        for value in model.graph.initializers.values():
            tensor = value.const_value
            if tensor is None or tensor.nbytes < _INLINE_BYTES:
                continue
            name = f"{self._part}{_SUFFIXES.get(tensor.dtype, '')}.weights"
            needed[name] = None
            value.const_value = ir.ExternalTensor(
                name,
                self._open(name).store(tensor.tobytes()),
                tensor.nbytes,
                tensor.dtype,
                shape=ir.Shape(tensor.shape.numpy()),
                name=value.name or "",
            )
        return tuple(needed)

    def _open(self, name: str) -> _WeightFile:
        if name not in self._files:
            self._files[name] = _WeightFile((self._folder / name).open("xb"))
        return self._files[name]


class _WeightFile:
    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self._offsets: dict[bytes, int] = {}

    def store(self, data: bytes) -> int:
        """Writes `data` unless the file has it; returns where it starts."""
        digest = hashlib.sha256(data).digest()
        if digest not in self._offsets:
            self.file.write(bytes(-self.file.tell() % _ALIGNMENT))
            self._offsets[digest] = self.file.tell()
            self.file.write(data)
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
