"""Measures the ranges of the activations that int8 must represent, inside the graph.

The graph outputs only scalars, so that memory does not grow with the attention maps or the number
of feeds.
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
        name: the name of its module, `blocks.3.attn.qkv` for instance.
        node: MatMul, Gemm, Conv or ConvTranspose.
        channel_axis: the weight's axis of output channels; each channel has its own scale.
    """

    name: str
    node: ir.Node
    channel_axis: int

    @property
    def activation(self) -> ir.Value:
        """The input activation, float32."""
        return _input(self.node, 0)

    @property
    def weight(self) -> ir.Value:
        """The constant factor, float32."""
        return _input(self.node, 1)


def find_layers(model: ir.Model) -> tuple[Layer, ...]:
    """Lists the layers of a graph that int8 can compute, in the graph's order.

    The products of attention are not included, because both factors are activations. Products with
    relative positions are not either, because their constant factor is a batch of matrices.
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

    It is the magnitude, not a percentile or the least squared error. On a trained model both of
    these cut the few large values that a patch's embedding depends on, and its smallest cosine
    fell.

    Args:
        model: the fp32 graph.
        graph: its name, for messages.
        feeds: realistic inputs.

    Returns:
        Layer -> largest magnitude; 0 if every feed gave only zeros.

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

    They are the smallest and the greatest value of each layer's activation, and the sum of each of
    the graph's own outputs. The sum shows a NaN, which a maximum may hide.
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
    options.enable_mem_pattern = False  # memory planning keeps every attention map alive
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def _check_feeds(feeds: Sequence[Mapping[str, NDArray[np.generic]]], *, graph: str) -> None:
    if not feeds:
        raise ValueError(f"{graph}: int8 needs feeds to calibrate with, none is given")
    for index, feed in enumerate(feeds):
        for name, array in feed.items():
            if not np.isfinite(array).all():
                raise ValueError(f"{graph}: {name} of feed {index} holds a number not finite")


def _channel_axis(node: ir.Node) -> int | None:
    """The weight's axis of output channels; None if the node is not a layer."""
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

    For a product in the outermost module it is the weight's name, if the exporter kept one.
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
