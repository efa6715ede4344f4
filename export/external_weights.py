"""ONNX weights in files beside the graphs, where these share what they have in common."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryFile
from typing import BinaryIO

import numpy as np
import onnx_ir as ir

from samclip_sdk.bundle.graph_spec import Precision

_INLINE_BYTES = 1024  # shapes, scalars and biases that a runtime wants to see in the graph itself
_HALF_ELEMENTS = 1024
_ALIGNMENT = 64
_MULTIPLIES = frozenset({"MatMul", "Gemm", "Conv", "ConvTranspose"})


class WeightFiles:
    """A part's graphs and their external-data files in the making; a context manager.

    Of weights that several graphs have, the bytes are stored once. There is a file for each group
    of precisions that share some, so that a device that runs one reads no weight of another:
    `PART.fp32.weights`, `PART.int8.weights`, `PART.fp32-int8.weights`.

    Args:
        folder: for all files.
        part: whose they are.
    """

    def __init__(self, folder: Path, *, part: str) -> None:
        self._folder = folder
        self._part = part
        self._spool = TemporaryFile(dir=folder)  # noqa: SIM115, closed at the end of the `with`
        self._stored: dict[bytes, _Stored] = {}
        self._graphs: list[tuple[str, ir.Model, list[_Moved]]] = []

    def __enter__(self) -> WeightFiles:
        return self

    def __exit__(self, *_: object) -> None:
        self._spool.close()

    def add(self, model: ir.Model, *, name: str, precision: Precision) -> None:
        """Takes a graph, and its large initializers out of it.

        Args:
            model: lacks them until `write`.
            name: of its file.
            precision: of the set that it belongs to.
        """
        moved = []
        for value in model.graph.initializers.values():
            tensor = value.const_value
            if tensor is None or tensor.nbytes < _INLINE_BYTES:
                continue
            stored = self._store(tensor.tobytes())
            stored.precisions.add(precision)
            moved.append(_Moved(value, tensor.dtype, ir.Shape(tensor.shape.numpy()), stored))
            value.const_value = None
        self._graphs.append((name, model, moved))

    def write(self) -> dict[str, tuple[str, ...]]:
        """Writes all files; returns, by graph's file, the weight files that it needs."""
        with ExitStack() as stack:
            files: dict[str, BinaryIO] = {}
            for stored in self._stored.values():
                name = f"{self._part}.{'-'.join(sorted(stored.precisions))}.weights"
                if name not in files:
                    files[name] = stack.enter_context((self._folder / name).open("xb"))
                stored.location = name, _append(files[name], self._read(stored))
        for name, model, moved in self._graphs:
            for each in moved:
                each.value.const_value = ir.ExternalTensor(
                    *each.stored.location,
                    each.stored.nbytes,
                    each.dtype,
                    shape=each.shape,
                    name=each.value.name or "",
                )
            ir.save(model, self._folder / name)
        return {
            name: tuple(dict.fromkeys(each.stored.location[0] for each in moved))
            for name, _, moved in self._graphs
        }

    def _store(self, data: bytes) -> _Stored:
        digest = hashlib.sha256(data).digest()
        if digest not in self._stored:
            self._stored[digest] = _Stored(self._spool.tell(), len(data))
            self._spool.write(data)
        return self._stored[digest]

    def _read(self, stored: _Stored) -> bytes:
        self._spool.seek(stored.start)
        return self._spool.read(stored.nbytes)


@dataclass
class _Stored:
    """Bytes in the spool, the precisions that read them, and at last their file and offset."""

    start: int
    nbytes: int
    precisions: set[Precision] = field(default_factory=set)
    location: tuple[str, int] = ("", 0)


@dataclass(frozen=True)
class _Moved:
    """An initializer that was taken out."""

    value: ir.Value
    dtype: ir.DataType
    shape: ir.Shape
    stored: _Stored


def _append(file: BinaryIO, data: bytes) -> int:
    """Writes `data`, aligned; returns where it starts."""
    file.write(bytes(-file.tell() % _ALIGNMENT))
    start = file.tell()
    file.write(data)
    return start


def halve_weights(model: ir.Model) -> None:
    """Stores the large factors of products in fp16; the graph casts them back and computes in fp32.

    Biases, normalisations, absolute positions and Fourier features stay in fp32: they are small,
    and the latter lose pixels in fp16. So do depthwise convolutions, which are small too, and of
    whose rounding comes most of the error of a convolutional backbone. A weight beyond fp16's range
    stays as well.
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
    multiplied = all(node.op_type in _MULTIPLIES and not _depthwise(node) for node, _ in uses)
    gathered = all(node.op_type == "Gather" and index == 0 for node, index in uses)
    return (multiplied or gathered) and float(np.abs(weight.numpy()).max()) <= 65504


def _depthwise(node: ir.Node) -> bool:
    """Whether each channel is convolved by itself."""
    group = node.attributes.get("group")
    return group is not None and group.as_int() > 1


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
