"""Inserts pairs of QuantizeLinear and DequantizeLinear into a graph: one file for every runtime.

Quantization is symmetric (zero points are 0): activations have one scale, weights have one for each
output channel. The sums of products, and biases, stay in fp32.

onnxruntime's QDQQuantizer gives the same numbers. But it also inserts its pairs before every other
reader of an activation, including the residual stream and the graph's outputs. Here only the layer
itself reads the rounded values.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from export.precision.activation_ranges import Layer, find_layers

INT8_MAX = 127  # -128 is not used, because the range is symmetric


def insert_pairs(
    model: ir.Model, *, layers: Collection[str], ranges: Mapping[str, float]
) -> ir.Model:
    """Copies a graph with some of its layers in int8.

    Args:
        model: the fp32 graph.
        layers: the names of the layers to quantize.
        ranges: layer -> the largest magnitude of its activation, above 0.

    Returns:
        The copy. Unchanged weights are shared with `model`.
    """
    quantized = model.clone()
    graph = quantized.graph
    done: dict[str, ir.Value] = {}
    for layer in find_layers(quantized):
        if layer.name not in layers:
            continue
        activation = layer.activation
        assert activation.name is not None
        if activation.name not in done:
            scale = np.array(ranges[layer.name] / INT8_MAX, dtype=np.float32)
            done[activation.name] = _round_activation(layer, scale=scale)
        layer.node.replace_input_with(0, done[activation.name])
        layer.node.replace_input_with(1, _store_weight(layer))
        _spread_bias(layer)
    for name, value in tuple(graph.initializers.items()):
        if not value.uses() and not value.is_graph_output():
            del graph.initializers[name]
    return quantized


def round_weight(
    weight: NDArray[np.float32], *, axis: int
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Rounds a weight to int8, halves to even; `axis` is the axis of output channels.

    Returns:
        The weight int8 of the same shape, -127..127, and the scale [channels]; their product is
        the rounded weight. The scale of a channel of zeros is 1.
    """
    others = tuple(index for index in range(weight.ndim) if index != axis)
    peaks = np.abs(weight).max(axis=others).astype(np.float64)
    scales = (peaks / INT8_MAX).astype(np.float32)
    scales[scales < np.finfo(np.float32).tiny] = 1
    steps = weight / np.expand_dims(scales, others)
    return np.clip(np.rint(steps), -INT8_MAX, INT8_MAX).astype(np.int8), scales


def _round_activation(layer: Layer, *, scale: NDArray[np.float32]) -> ir.Value:
    """Inserts a pair before the layer; returns the rounded activation."""
    activation, graph = layer.activation, _graph(layer)
    parameters = (
        _constant(graph, name=f"{activation.name}_scale", array=scale),
        _constant(graph, name=f"{activation.name}_zero_point", array=np.array(0, dtype=np.int8)),
    )
    steps = ir.node("QuantizeLinear", [activation, *parameters]).outputs[0]
    rounded = ir.node("DequantizeLinear", [steps, *parameters]).outputs[0]
    _insert(layer, value=steps, name=f"{activation.name}_int8", like=activation)
    _insert(layer, value=rounded, name=f"{activation.name}_rounded", like=activation)
    steps.dtype = ir.DataType.INT8
    return rounded


def _store_weight(layer: Layer) -> ir.Value:
    """Adds the weight in int8 and a DequantizeLinear before the layer; returns its output.

    Layers that share a weight get a copy each. On processors without VNNI onnxruntime rewrites the
    weight of every layer, and cannot load a graph in which two layers share one.
    """
    weight, graph = layer.weight, _graph(layer)
    stem = weight.name
    if f"{stem}_int8" in graph.initializers:
        stem = f"{stem}.of.{layer.name}"
    steps, scales = round_weight(_array(weight), axis=layer.channel_axis)
    zeros = np.zeros(scales.shape, dtype=np.int8)
    constants = [
        _constant(graph, name=f"{stem}{suffix}", array=array)
        for suffix, array in (("_int8", steps), ("_scale", scales), ("_zero_point", zeros))
    ]
    rounded = ir.node(
        "DequantizeLinear", constants, attributes={"axis": layer.channel_axis}
    ).outputs[0]
    _insert(layer, value=rounded, name=f"{stem}_rounded", like=weight)
    return rounded


def _spread_bias(layer: Layer) -> None:
    """Gives the bias [N] that is added to a MatMul as many axes as the product has.

    Otherwise onnxruntime fuses the two into a Gemm. It has an int8 kernel for a Gemm only if the
    bias is int32, which TensorRT does not parse. So the graph would run in float, slower than
    before.
    """
    product = layer.node.outputs[0]
    if layer.node.op_type != "MatMul":
        return
    assert product.shape is not None
    for add, index in product.uses():
        bias = add.inputs[1 - index] if add.op_type == "Add" else None
        if bias is None or not bias.is_initializer() or bias.shape is None or len(bias.shape) != 1:
            continue
        name = f"{bias.name}_{len(product.shape)}d"
        constant = _graph(layer).initializers.get(name)  # equal biases are stored once
        if constant is None:
            spread = _array(bias).reshape((1,) * (len(product.shape) - 1) + (-1,))
            constant = _constant(_graph(layer), name=name, array=spread)
        add.replace_input_with(1 - index, constant)


def _insert(layer: Layer, *, value: ir.Value, name: str, like: ir.Value) -> None:
    """Inserts the node that makes `value` before the layer, and describes both."""
    node = value.producer()
    assert node is not None
    assert like.dtype is not None
    value.name = node.name = name
    value.dtype, value.shape = like.dtype, like.shape
    _graph(layer).insert_before(layer.node, node)


def _constant(graph: ir.Graph, *, name: str, array: NDArray[np.generic]) -> ir.Value:
    tensor = ir.Tensor(array, name=name)
    value = ir.Value(
        name=name, shape=tensor.shape, type=ir.TensorType(tensor.dtype), const_value=tensor
    )
    graph.register_initializer(value)
    return value


def _array(value: ir.Value) -> NDArray[np.float32]:
    assert value.const_value is not None
    return value.const_value.numpy()


def _graph(layer: Layer) -> ir.Graph:
    graph = layer.node.graph
    assert isinstance(graph, ir.Graph)
    return graph
