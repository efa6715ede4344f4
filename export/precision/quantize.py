"""int8 as pairs of QuantizeLinear and DequantizeLinear, in one file for onnxruntime and TensorRT.

Symmetric on both sides (zero points are 0): activations with one scale, weights with one for each
output channel; what the products add up to, and biases, stay in fp32. Layers that cost too much
stay in float, the worst first, until the caller accepts the graph.

onnxruntime's QDQQuantizer gives the same numbers. It also puts its pairs before every other reader
of an activation, the residual stream and the graph's outputs included; here only the layer itself
reads the rounded values.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from export.graphs import Arrays
from export.precision.activation_ranges import Layer, collect_ranges, find_layers, open_session
from samclip_sdk.errors import VerificationError

INT8_MAX = 127  # -128 is not used: a symmetric range needs no number without a counterpart

_MEASURED_FEEDS = 4  # enough to tell the worst layers; each layer runs them all

Accept = Callable[[Path], "str | None"]
"""Given an ONNX file: None, or why it is refused."""


@dataclass(frozen=True)
class KeptInFloat:
    """A layer that int8 leaves as it is.

    Attributes:
        layer: its name, `blocks.3.attn.qkv` for instance.
        error: what int8 in this layer alone does to the graph's outputs, see `layer_errors`; None
            where that was not measured: the caller asked for it, or calibration fed it only zeros.
    """

    layer: str
    error: float | None


@dataclass(frozen=True)
class Quantized:
    """A graph in int8.

    Attributes:
        model: with the inputs and outputs of the fp32 graph; weights int8.
        layers: the names of those in int8, in the graph's order.
        kept_in_float: the others, the most sensitive first.
    """

    model: ir.Model
    layers: tuple[str, ...]
    kept_in_float: tuple[KeptInFloat, ...]


def quantize(
    model: ir.Model,
    *,
    graph: str,
    feeds: Sequence[Arrays],
    accept: Accept,
    keep: Collection[str] = (),
) -> Quantized:
    """Quantizes as many layers of a graph as the caller accepts.

    Args:
        model: the fp32 graph with the shapes of its values; it is left as it is.
        graph: its name, for messages.
        feeds: calibration inputs like those of use.
        accept: the gate. Called with a file in a folder that does not last.
        keep: layers to leave in float in any case, for instance those that the same part needs at
            another resolution, so that both share all of their weights.

    Returns:
        The graph with the fewest layers in float that was accepted.

    Raises:
        ValueError: there is no feed, or one holds a number that is not finite.
        VerificationError: the graph is refused however many layers stay in float.
    """
    ranges = collect_ranges(model, graph=graph, feeds=feeds)
    names = [name for name, peak in ranges.items() if peak > 0 and name not in keep]
    left_out = tuple(KeptInFloat(name, error=None) for name in ranges if name not in names)
    if not names:
        raise VerificationError(f"{graph} has no layer that int8 could compute")
    quantized = insert_pairs(model, layers=names, ranges=ranges)
    refusal = _refusal(quantized, accept=accept)
    if refusal is None:
        return Quantized(quantized, layers=tuple(names), kept_in_float=left_out)
    some = feeds[:: -(-len(feeds) // _MEASURED_FEEDS)]
    errors = layer_errors(model, layers=names, ranges=ranges, feeds=some)
    worst_first = sorted(names, key=errors.__getitem__, reverse=True)
    quantized, count = _fewest_in_float(
        model,
        graph=graph,
        worst_first=worst_first,
        ranges=ranges,
        accept=accept,
        refusal=refusal,
    )
    kept = tuple(KeptInFloat(name, error=errors[name]) for name in worst_first[:count])
    layers = tuple(name for name in names if name not in worst_first[:count])
    return Quantized(quantized, layers=layers, kept_in_float=kept + left_out)


def insert_pairs(
    model: ir.Model, *, layers: Collection[str], ranges: Mapping[str, float]
) -> ir.Model:
    """Copies a graph with some of its layers in int8.

    Args:
        model: the fp32 graph.
        layers: the names of those to quantize.
        ranges: layer -> the largest magnitude of its activation, above 0.

    Returns:
        The copy. Weights that stay are shared with `model`.
    """
    quantized = model.clone()
    graph = quantized.graph
    done: dict[str, ir.Value] = {}
    for layer in find_layers(quantized):
        if layer.name not in layers:
            continue
        activation, weight = layer.activation, layer.weight
        assert activation.name is not None
        assert weight.name is not None
        if activation.name not in done:
            scale = np.array(ranges[layer.name] / INT8_MAX, dtype=np.float32)
            done[activation.name] = _round_activation(layer, scale=scale)
        if weight.name not in done:
            done[weight.name] = _store_weight(layer)
        layer.node.replace_input_with(0, done[activation.name])
        layer.node.replace_input_with(1, done[weight.name])
        _spread_bias(layer)
    for name, value in tuple(graph.initializers.items()):
        if not value.uses() and not value.is_graph_output():
            del graph.initializers[name]
    return quantized


def round_weight(
    weight: NDArray[np.float32], *, axis: int
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Rounds a weight to int8, halves to even; `axis` is that of output channels.

    Returns:
        The weight int8 of the same shape, -127..127, and the scale [channels]; their product is
        the rounded weight. The scale is 1 where a channel is zero.
    """
    others = tuple(index for index in range(weight.ndim) if index != axis)
    peaks = np.abs(weight).max(axis=others).astype(np.float64)
    scales = (peaks / INT8_MAX).astype(np.float32)
    scales[scales < np.finfo(np.float32).tiny] = 1
    steps = weight / np.expand_dims(scales, others)
    return np.clip(np.rint(steps), -INT8_MAX, INT8_MAX).astype(np.int8), scales


def layer_errors(
    model: ir.Model,
    *,
    layers: Sequence[str],
    ranges: Mapping[str, float],
    feeds: Sequence[Arrays],
) -> dict[str, float]:
    """Measures what each layer costs when it alone is in int8.

    At the graph's outputs, not at the layer's: on a trained model the two orders had little in
    common, and only the former found the layers that mattered.

    Returns:
        Layer -> root of the mean squared error, relative to the output's own, over all feeds; the
        largest of the outputs.
    """
    with TemporaryDirectory() as folder:
        expected = list(_run(model, feeds=feeds, folder=Path(folder)))
        power = np.sum([_power(outputs) for outputs in expected], axis=0)
        errors: dict[str, float] = {}
        for layer in layers:
            alone = insert_pairs(model, layers=(layer,), ranges=ranges)
            lost = np.zeros_like(power)
            runs = _run(alone, feeds=feeds, folder=Path(folder))
            for found, wanted in zip(runs, expected, strict=True):
                lost += _power([a - b for a, b in zip(found, wanted, strict=True)])
            errors[layer] = float(np.sqrt(lost / np.maximum(power, 1e-30)).max())
    return errors


def _fewest_in_float(
    model: ir.Model,
    *,
    graph: str,
    worst_first: Sequence[str],
    ranges: Mapping[str, float],
    accept: Accept,
    refusal: str,
) -> tuple[ir.Model, int]:
    """Finds, by bisection, how many of the worst layers must stay in float.

    `refusal` says why none is too few.
    """

    def build(count: int) -> ir.Model:
        return insert_pairs(model, layers=worst_first[count:], ranges=ranges)

    def accepted(count: int) -> bool:
        nonlocal refusal
        reason = _refusal(build(count), accept=accept)
        refusal = reason or refusal
        return reason is None

    counts = range(1, len(worst_first))
    place = bisect.bisect_left(counts, True, key=accepted)
    if place == len(counts):
        raise VerificationError(
            f"{graph} cannot be int8, not even with all but one of its layers in float: {refusal}; "
            f"{worst_first[0]} costs most"
        )
    return build(counts[place]), counts[place]


def _refusal(model: ir.Model, *, accept: Accept) -> str | None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "graph.onnx"
        ir.save(model, path)
        return accept(path)


def _run(
    model: ir.Model, *, feeds: Sequence[Arrays], folder: Path
) -> Iterator[list[NDArray[np.float32]]]:
    """Yields the graph's outputs for each feed."""
    session = open_session(model, folder=folder)
    for feed in feeds:
        yield session.run(None, dict(feed))


def _power(outputs: Sequence[NDArray[np.float32]]) -> NDArray[np.float64]:
    """The sum of squares of each output."""
    return np.array([np.square(output, dtype=np.float64).sum() for output in outputs])


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
    """Adds the weight in int8 and, before the layer, what widens it; returns that."""
    weight, graph = layer.weight, _graph(layer)
    steps, scales = round_weight(_array(weight), axis=layer.channel_axis)
    zeros = np.zeros(scales.shape, dtype=np.int8)
    constants = [
        _constant(graph, name=f"{weight.name}{suffix}", array=array)
        for suffix, array in (("_int8", steps), ("_scale", scales), ("_zero_point", zeros))
    ]
    rounded = ir.node(
        "DequantizeLinear", constants, attributes={"axis": layer.channel_axis}
    ).outputs[0]
    _insert(layer, value=rounded, name=f"{weight.name}_rounded", like=weight)
    return rounded


def _spread_bias(layer: Layer) -> None:
    """Gives the bias [N] that is added to a MatMul as many axes as the product has.

    Otherwise onnxruntime fuses the two into a Gemm, for which it has no int8 kernel unless the
    bias is int32, which TensorRT does not parse: the graph would run in float, slower than before.
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
