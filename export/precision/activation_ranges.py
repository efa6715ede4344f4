"""How large the activations get that int8 must represent: measured inside the graph.

Only scalars leave the graph, so that memory grows neither with the attention maps nor with the
number of feeds.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from export.graphs import Arrays
from samclip_sdk.system.packages import import_onnxruntime

_LOWEST, _HIGHEST, _SUM = "_lowest", "_highest", "_sum"


@dataclass(frozen=True)
class Layer:
    """A product of an activation, `node.inputs[0]`, and a constant weight, `node.inputs[1]`.

    Attributes:
        name: of the module that it comes from, `blocks.3.attn.qkv` for instance.
        node: MatMul, Gemm, Conv or ConvTranspose.
        channel_axis: the weight's axis of output channels, each of which has a scale of its own.
    """

    name: str
    node: ir.Node
    channel_axis: int

    @property
    def activation(self) -> ir.Value:
        """What goes in, float32."""
        return _input(self.node, 0)

    @property
    def weight(self) -> ir.Value:
        """The constant factor, float32."""
        return _input(self.node, 1)


def find_layers(model: ir.Model) -> tuple[Layer, ...]:
    """Lists what int8 can compute of a graph, in the graph's order.

    Attention's own products, of two activations, are not among them, nor are those with relative
    positions, whose constant factor is a batch of matrices.
    """
    layers: list[Layer] = []
    names: set[str] = set()
    for node in model.graph:
        axis = _channel_axis(node)
        if axis is None:
            continue
        name = _layer_name(node)
        if name in names:  # one module called twice
            name = f"{name}:{node.name}"
        names.add(name)
        layers.append(Layer(name, node=node, channel_axis=axis))
    return tuple(layers)


def collect_ranges(model: ir.Model, *, graph: str, feeds: Sequence[Arrays]) -> dict[str, float]:
    """Runs the graph on every feed and records the largest magnitude of each layer's activation.

    The magnitude, not a percentile or the least squared error: on a trained model both of those
    cut the few large values that carry a patch's embedding, and its least cosine fell.

    Args:
        model: the fp32 graph.
        graph: its name, for messages.
        feeds: inputs like those of use.

    Returns:
        Layer -> largest magnitude; 0 where every feed gave nothing but zeros.

    Raises:
        ValueError: there is no feed, or one holds a number that is not finite.
    """
    _check_feeds(feeds, graph=graph)
    layers = find_layers(model)
    ranges = {layer.name: 0.0 for layer in layers}
    with TemporaryDirectory() as folder:
        session = open_session(with_range_outputs(model), folder=Path(folder))
        outputs = [output.name for output in session.get_outputs()]
        for index, feed in enumerate(feeds):
            found = dict(zip(outputs, session.run(outputs, dict(feed)), strict=True))
            if not all(np.isfinite(value) for value in found.values()):
                raise ValueError(f"{graph}: feed {index} overflows the graph in fp32 already")
            for layer in layers:
                lowest = float(found[f"{layer.activation.name}{_LOWEST}"])
                highest = float(found[f"{layer.activation.name}{_HIGHEST}"])
                ranges[layer.name] = max(ranges[layer.name], -lowest, highest)
    return ranges


def with_range_outputs(model: ir.Model) -> ir.Model:
    """Copies a graph and replaces its outputs by scalars.

    They are the least and the greatest value of each layer's activation, and the sum of each of the
    graph's own outputs, where a NaN arrives that a maximum may pass over.
    """
    augmented = model.clone()
    own = tuple(augmented.graph.outputs)
    activations = {layer.activation for layer in find_layers(augmented)}
    del augmented.graph.outputs[:]
    for value in sorted(activations, key=lambda value: value.name or ""):
        _add_scalar(augmented.graph, value=value, operator="ReduceMin", suffix=_LOWEST)
        _add_scalar(augmented.graph, value=value, operator="ReduceMax", suffix=_HIGHEST)
    for value in own:
        _add_scalar(augmented.graph, value=value, operator="ReduceSum", suffix=_SUM)
    return augmented


def open_session(model: ir.Model, *, folder: Path) -> Any:
    """Opens a graph in onnxruntime on the CPU; `folder` must last as long as the session."""
    path = folder / "graph.onnx"
    ir.save(model, path)
    ort = import_onnxruntime()
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.enable_mem_pattern = False  # planning ahead keeps every attention map alive
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def _check_feeds(feeds: Sequence[Mapping[str, NDArray[np.generic]]], *, graph: str) -> None:
    if not feeds:
        raise ValueError(f"{graph}: int8 needs feeds to calibrate with, none is given")
    for index, feed in enumerate(feeds):
        for name, array in feed.items():
            if not np.isfinite(array).all():
                raise ValueError(f"{graph}: {name} of feed {index} holds a number not finite")


def _channel_axis(node: ir.Node) -> int | None:
    """The weight's axis of output channels, None where the node is no layer."""
    axes = {"MatMul": 1, "Gemm": 1, "Conv": 0, "ConvTranspose": 1}
    if node.op_type not in axes:
        return None
    activation, weight = _input(node, 0), _input(node, 1)
    if activation.is_initializer() or not weight.is_initializer():
        return None
    assert weight.shape is not None
    if node.op_type == "MatMul" and len(weight.shape) != 2:
        return None
    if node.op_type == "Gemm" and node.attributes.get_int("transB", 0) == 1:
        return 0
    return axes[node.op_type]


def _layer_name(node: ir.Node) -> str:
    """The module's name: `to_onnx` writes it before the node's own, "blocks.3.attn.qkv/node_7".

    Of a product in the outermost module it is its weight's name, if the exporter left it one.
    """
    module, _, own = (node.name or "").rpartition("/")
    weight = _input(node, 1).name or ""
    return module or (own if re.fullmatch(r"val_\d+", weight) else weight.removesuffix(".weight"))


def _input(node: ir.Node, index: int) -> ir.Value:
    value = node.inputs[index]
    assert value is not None
    return value


def _add_scalar(graph: ir.Graph, *, value: ir.Value, operator: str, suffix: str) -> None:
    node = ir.node(operator, [value], attributes={"keepdims": 0}, name=f"{value.name}{suffix}")
    scalar = node.outputs[0]
    scalar.name, scalar.dtype, scalar.shape = node.name, ir.DataType.FLOAT, ir.Shape(())
    graph.append(node)
    graph.outputs.append(scalar)
