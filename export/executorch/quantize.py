"""Computes as many layers of a graph in int8 as are accepted, with ranges from photographs.

Weights are symmetric, with a scale for each output channel; activations have one scale and zero
point, from the smallest and the largest value that calibration saw. These are the patterns of
`XNNPACKQuantizer`, for layers alone: additions stay in float.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx
from torch.export import ExportedProgram

from export.buckets import bucket_axes, bucket_name
from export.converter import import_executorch_converter
from export.executorch.rewriting import Grid, Int8Layer, Layer, Rewritten, find_layers
from export.graphs import Arrays, Graph
from export.precision.quantized_layers import round_weight
from export.precision.search import Found, most_in_int8
from samclip_sdk.runtimes.buckets import Buckets
from samclip_sdk.runtimes.tensor_checks import check_feed

Ranges = Mapping[fx.Node, tuple[float, float]]
"""Node -> the smallest and the largest number that it had."""

_COMPARED = 2  # feeds by which layers are compared: the graph runs on all of them per layer


def quantize(
    programs: Mapping[str, ExportedProgram],
    *,
    graph: Graph,
    feeds: Sequence[Arrays],
    probes: Sequence[Arrays],
    refuse: Callable[[Sequence[Arrays]], str | None],
    worst_first: Sequence[str],
) -> tuple[dict[str, Int8Layer], tuple[str, ...]]:
    """Finds the layers of a graph that can compute in int8.

    Args:
        programs: bucket -> its program.
        graph: the graph that they were traced from.
        feeds: realistic calibration inputs.
        probes: the inputs that the graph is accepted on.
        refuse: returns the reason why the outputs of the probes are refused, or None.
        worst_first: the order in which layers stay in float, if it is known; empty if it is to be
            measured.

    Returns:
        The layers in int8, and the names of all layers, the one that costs most first. The second
        is empty if none had to stay in float.

    Raises:
        VerificationError: the graph is refused even if all but one of its layers stay in float.
    """
    import_executorch_converter()  # it defines the operators that round
    axes = bucket_axes(graph)[-1]  # rows do not depend on one another: the largest has them all
    module = programs[bucket_name(axes)].module(check_guards=False)
    assert isinstance(module, fx.GraphModule)
    buckets = Buckets(graph.contract(), lengths=[axes], where=graph.name)

    def run(compute: Callable[..., Any], given: Sequence[Arrays]) -> list[Arrays]:
        def call(_: int, feed: Arrays) -> Arrays:
            answer = compute(*(torch.tensor(feed[spec.name]) for spec in graph.inputs))
            results = answer if isinstance(answer, tuple) else (answer,)
            return {
                spec.name: each.numpy() for spec, each in zip(graph.outputs, results, strict=True)
            }

        with torch.inference_mode():
            return [
                buckets.run(feed, axes=check_feed(feed, inputs=graph.inputs), call=call)
                for feed in given
            ]

    layers = find_layers(module)
    observer = _Observer(module, watched=layers.values())
    run(observer.run, feeds)
    whole = {
        name: _in_int8(layer, module=module, ranges=observer.ranges)
        for name, layer in layers.items()
    }
    found: Found[Rewritten] = most_in_int8(
        list(whole),
        graph=graph.name,
        build=lambda names: Rewritten(module, int8={name: whole[name] for name in names}),
        refuse=lambda built: refuse(run(built, probes)),
        run=lambda built: run(built, feeds[:_COMPARED]),
        expected=lambda: run(module, feeds[:_COMPARED]),
        worst_first=worst_first,
    )
    return {name: whole[name] for name in found.in_int8}, found.worst_first


class _Observer(fx.Interpreter):
    """Runs a graph and records what its layers take and give.

    Attributes:
        ranges: the ranges so far.
    """

    def __init__(self, module: fx.GraphModule, *, watched: Any) -> None:
        super().__init__(module)
        self.ranges: dict[fx.Node, tuple[float, float]] = {}
        self._watched = {node for layer in watched for node in (layer.input, layer.end)}

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if n in self._watched:
            lowest, highest = (float(each) for each in torch.aminmax(value))
            seen = self.ranges.get(n, (lowest, highest))
            self.ranges[n] = (min(lowest, seen[0]), max(highest, seen[1]))
        return value


def _in_int8(layer: Layer, *, module: fx.GraphModule, ranges: Ranges) -> Int8Layer:
    weight, *others = (_attribute(module, each) for each in layer.product.args[1:3])
    assert weight is not None
    rounded, scales = round_weight(weight.numpy(), axis=0)
    return Int8Layer(
        weight=torch.from_numpy(rounded),
        scales=torch.from_numpy(scales),
        bias=others[0] if others else None,
        input=Grid.spanning(*ranges[layer.input]),
        output=Grid.spanning(*ranges[layer.end]),
    )


def _attribute(module: fx.GraphModule, node: Any) -> Tensor | None:
    """A copy of the tensor that a node of a graph names; None if there is no node."""
    if node is None:
        return None
    assert isinstance(node, fx.Node)
    value: Any = module
    for name in str(node.target).split("."):
        value = getattr(value, name)
    assert isinstance(value, Tensor)
    return value.detach().clone()
