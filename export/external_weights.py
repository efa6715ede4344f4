"""Stores ONNX weights in files beside the graphs, which share equal weights."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryFile
from typing import BinaryIO

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from export.options import WeightPrecision
from export.weight_rounding import Axes, on_grid
from samclip_sdk.bundle.graph_spec import Precision

_INLINE_BYTES = 1024  # shapes, scalars and biases that a runtime needs in the graph itself
_FEWEST_HALVES = 1024
_ALIGNMENT = 64
_MULTIPLIES = frozenset({"MatMul", "Gemm", "Conv", "ConvTranspose"})
_FLOATS = (ir.DataType.FLOAT, ir.DataType.FLOAT16)
_ZERO = 128
_OFF_GRID = 0.2
"""In steps. The rounding to fp16 is a smaller error; a weight that was never rounded has more."""


class WeightFiles:
    """Collects a part's graphs and writes them with external-data files; a context manager.

    Weights that several graphs share are stored once. Each group of precisions that share weights
    has its own file, so that a device reads no weights of a precision that it does not run:
    `PART.fp32.weights`, `PART.int8.weights`, `PART.fp32-int8.weights`.

    Args:
        folder: the folder for all files.
        part: the name of the part.
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
        """Adds a graph, and moves its large initializers out of it.

        Args:
            model: the graph, which has no large initializers until `write`.
            name: the name of its file.
            precision: the precision of its set.
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
        """Writes all files; returns the graph's file -> the weight files that it needs."""
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
    """Bytes in the spool, the precisions that read them, and later their file and offset."""

    start: int
    nbytes: int
    precisions: set[Precision] = field(default_factory=set)
    location: tuple[str, int] = ("", 0)


@dataclass(frozen=True)
class _Moved:
    """An initializer that was moved out of its graph."""

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


def shrink_weights(model: ir.Model, *, stored: WeightPrecision) -> None:
    """Stores a graph's large weights in a lower precision than it computes in.

    See `ExportOptions`. In a graph that computes in fp16, the weights that the plan keeps in fp32
    are stored so too.
    """
    if stored == "int8":
        byte_weights(model)
    if stored != "fp32":
        halve_weights(model)


def byte_weights(model: ir.Model) -> None:
    """Stores the large factors of products in bytes, if `round_weights` has rounded them.

    The graph turns a byte back into a number, (byte - 128) * step, and computes as before. It uses
    operators that runtimes fold into constants when they open it. It does not use DequantizeLinear,
    because some runtimes would then compute the product itself in int8.
    """
    for value in tuple(model.graph.initializers.values()):
        weight = value.const_value
        if weight is None or not _is_product_weight(value, weight=weight):
            continue
        axes = {_axes(node) for node, _ in value.uses()}
        counts, steps = on_grid(weight.numpy(), axes=axes.pop())
        if not axes and np.abs(counts - counts.round()).max() < _OFF_GRID:
            stored = (counts.round() + _ZERO).astype(np.uint8), steps.astype(np.float16)
            _store_bytes(value, *stored, graph=model.graph)


def halve_weights(model: ir.Model) -> None:
    """Stores the large factors of products in fp16; the graph casts them back and computes in fp32.

    Biases, normalisations, absolute positions and Fourier features stay in fp32: they are small,
    and the last have errors of pixels in fp16. Depthwise convolutions stay too: they are small, and
    their rounding causes most of the error of a convolutional backbone. A weight beyond fp16's
    range also stays.
    """
    for value in tuple(model.graph.initializers.values()):
        weight = value.const_value
        if weight is None or weight.dtype != ir.DataType.FLOAT:
            continue
        if not _is_product_weight(value, weight=weight):
            continue
        half = ir.Tensor(weight.numpy().astype(np.float16), name=value.name)
        value.const_value = half
        _put_behind(
            value,
            lambda stored: [_node("Cast", stored, to=ir.DataType.FLOAT)],
            dtype=ir.DataType.FLOAT16,
            graph=model.graph,
        )


def _is_product_weight(value: ir.Value, *, weight: ir.TensorProtocol) -> bool:
    if weight.dtype not in _FLOATS or weight.size < _FEWEST_HALVES or len(weight.shape) < 2:
        return False
    uses = tuple(value.uses())
    multiplied = all(node.op_type in _MULTIPLIES and not _depthwise(node) for node, _ in uses)
    gathered = all(node.op_type == "Gather" and index == 0 for node, index in uses)
    return (multiplied or gathered) and float(np.abs(weight.numpy()).max()) <= 65504


def _depthwise(node: ir.Node) -> bool:
    """Whether a convolution has several groups."""
    group = node.attributes.get("group")
    return group is not None and group.as_int() > 1


def _axes(node: ir.Node) -> Axes:
    """The axes of a node's weight."""
    transposed = node.attributes.get("transB")
    match node.op_type:
        case "Gather":
            return Axes(channels=1, summed=None)
        case "Conv":
            return Axes(channels=0, summed=1)
        case "Gemm" if transposed is not None and transposed.as_int():
            return Axes(channels=0, summed=1)
        case _:
            return Axes(channels=1, summed=0)


def _store_bytes(
    value: ir.Value, counts: NDArray[np.uint8], steps: NDArray[np.float16], *, graph: ir.Graph
) -> None:
    """Replaces a weight by bytes, and inserts the nodes that decode them."""
    dtype, shape = value.dtype, value.shape
    assert dtype is not None
    assert shape is not None

    def constant(suffix: str, array: NDArray[np.generic]) -> ir.Value:
        made = ir.Value(name=f"{value.name}_{suffix}", const_value=ir.Tensor(array))
        graph.register_initializer(made)
        return made

    # In fp32, because onnxruntime does not fold products of fp16 constants on a CPU.
    zero = constant("zero", np.array(_ZERO, np.float32))
    step = constant("step", steps)
    whole = constant("shape", np.array(shape.numpy()))

    def decode(stored: ir.Value) -> list[ir.Node]:
        number = _node("Cast", stored, to=ir.DataType.FLOAT)
        centred = _node("Sub", number.outputs[0], zero)
        exact = _node("Cast", step, to=ir.DataType.FLOAT)
        nodes = [number, centred, exact, _node("Mul", centred.outputs[0], exact.outputs[0])]
        if stored is value:  # A row of a table already has its shape.
            nodes.append(_node("Reshape", nodes[-1].outputs[0], whole))
        if dtype != ir.DataType.FLOAT:
            nodes.append(_node("Cast", nodes[-1].outputs[0], to=dtype))
        return nodes

    value.const_value = ir.Tensor(counts, name=value.name)
    _put_behind(value, decode, dtype=ir.DataType.UINT8, graph=graph)
    value.shape = ir.Shape(counts.shape)


def _node(operator: str, *inputs: ir.Value, to: ir.DataType | None = None) -> ir.Node:
    """Makes a node; its output has a name and a type after its first input, unless it casts."""
    node = ir.node(operator, inputs, attributes=None if to is None else {"to": to})
    (output,) = node.outputs
    output.name = f"{inputs[0].name}_{operator.lower()}"
    output.type = inputs[0].type if to is None else ir.TensorType(to)
    return node


def _put_behind(
    value: ir.Value,
    decode: Callable[[ir.Value], list[ir.Node]],
    *,
    dtype: ir.DataType,
    graph: ir.Graph,
) -> None:
    """Inserts nodes between a stored weight and its users; their last output replaces the weight.

    For a table the nodes follow each look-up, so that the table itself is never expanded.

    Args:
        value: the weight.
        decode: makes the nodes for the weight, or for the rows that were looked up in it.
        dtype: the dtype of the stored weight.
        graph: the graph that has the weight.
    """
    value.type = ir.TensorType(dtype)  # Not `dtype`, because clones of a graph share their types.
    uses = [(use.node, use.idx) for use in value.uses()]
    if uses[0][0].op_type != "Gather":
        nodes = decode(value)
        graph.insert_before(next(n for n in graph if any(n is each for each, _ in uses)), nodes)
        _replace(value, nodes[-1].outputs[0], uses=uses)
        return
    for node, _ in uses:
        found = node.outputs[0]
        found.type = value.type
        users = [(use.node, use.idx) for use in found.uses()]
        nodes = decode(found)
        graph.insert_after(node, nodes)
        _replace(found, nodes[-1].outputs[0], uses=users)


def _replace(old: ir.Value, new: ir.Value, *, uses: Sequence[tuple[ir.Node, int]]) -> None:
    new.shape = old.shape
    for user, index in uses:
        user.replace_input_with(index, new)
