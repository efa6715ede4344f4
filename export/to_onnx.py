"""One part of the model -> one ONNX graph, with the contract's names and axes."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

import onnx_ir as ir
import torch
from torch import Tensor, nn

OPSET = 18
IR_VERSION = 8  # the oldest that opset 18 allows: runtimes on devices lag behind

DATA_DEPENDENT = frozenset(
    {"NonZero", "Compress", "OneHot", "Loop", "If", "Scan", "Unique", "NonMaxSuppression", "TopK"}
)
"""Operators whose output shape or control flow depends on values, or that TensorRT and Core ML
place badly; none may be in a graph."""


def to_onnx(
    module: nn.Module,
    *,
    example: Mapping[str, Tensor],
    dynamic_axes: Mapping[str, Mapping[int, str]],
    outputs: Sequence[str],
) -> ir.Model:
    """Exports `module`.

    Args:
        module: in eval mode, on the CPU, fp32.
        example: an input for each of the graph's inputs, in the order of `module.forward`. Dynamic
            axes must be longer than 1 in it: torch.export takes a 1 for a constant.
        dynamic_axes: input -> axis -> symbolic name; all other axes are static.
        outputs: the names of the graph's outputs.

    Returns:
        The graph, free of anything that tells about this machine.
    """
    dims = {
        name: torch.export.Dim(name) for axes in dynamic_axes.values() for name in axes.values()
    }
    shapes = tuple(
        {axis: dims[name] for axis, name in dynamic_axes.get(tensor, {}).items()}
        for tensor in example
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own: deprecations and notes on shared axis names
        program = torch.onnx.export(
            module,
            tuple(example.values()),
            dynamo=True,
            input_names=list(example),
            output_names=list(outputs),
            dynamic_shapes=shapes,
            opset_version=OPSET,
            verbose=False,
        )
    assert program is not None
    model = program.model
    model.ir_version = IR_VERSION
    _forget_origin(model)
    return model


def data_dependent_operators(model: ir.Model) -> set[str]:
    """The operators of `model` that `DATA_DEPENDENT` forbids."""
    return {node.op_type for node in model.graph.all_nodes()} & DATA_DEPENDENT


def _forget_origin(model: ir.Model) -> None:
    """Drops stack traces and paths of the machine that exports, most of the file's size."""
    graph = model.graph
    values = [*graph.inputs, *graph.initializers.values()]
    for node in graph:
        node.metadata_props.clear()
        node.doc_string = None
        values += node.outputs
    for value in values:
        value.metadata_props.clear()
        value.doc_string = None
    for holder in (model, graph):
        holder.metadata_props.clear()
        holder.doc_string = None
