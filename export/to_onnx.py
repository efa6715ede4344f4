"""Converts a torch program to an ONNX graph with the contract's names and axes."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Mapping, Sequence

import onnx_ir as ir
import torch
from torch.export import ExportedProgram

from samclip_sdk.bundle.graph_spec import TensorSpec

OPSET = 18
IR_VERSION = 8  # the oldest that opset 18 allows, because devices have old runtimes

DATA_DEPENDENT = frozenset(
    {"NonZero", "Compress", "OneHot", "Loop", "If", "Scan", "Unique", "NonMaxSuppression", "TopK"}
)
"""Operators that no graph may have: their output shape or control flow depends on values, or
TensorRT and Core ML place them badly."""


def to_onnx(
    program: ExportedProgram, *, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]
) -> ir.Model:
    """Converts a program.

    Args:
        program: from `export_program` or `halve`.
        inputs: names, types and axes, in the order of the program's inputs; an axis with a name
            must be dynamic in the program.
        outputs: names, types and axes, in the order of the program's outputs.

    Returns:
        The graph, without any data about this machine.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own: deprecations
        converted = torch.onnx.export(
            program,
            dynamo=True,
            input_names=[spec.name for spec in inputs],
            output_names=[spec.name for spec in outputs],
            opset_version=OPSET,
            verbose=False,
        )
    assert converted is not None
    model = converted.model
    model.ir_version = IR_VERSION
    _name_axes(model, inputs=inputs)
    _name_layers(model)
    _order_gelu(model)
    _forget_origin(model)
    return model


def data_dependent_operators(model: ir.Model) -> set[str]:
    """The operators of `model` that `DATA_DEPENDENT` forbids."""
    return {node.op_type for node in model.graph.all_nodes()} & DATA_DEPENDENT


def _order_gelu(model: ir.Model) -> None:
    """Changes torch's x * (0.5 * (1 + erf)) to 0.5 * (x * (1 + erf)), which is the same number.

    onnxruntime fuses only the second form into one operator.
    """
    for node in model.graph:
        if node.op_type != "Erf":
            continue
        ((sum_, _),) = node.outputs[0].uses()
        ((halved, _),) = sum_.outputs[0].uses()
        ((product, _),) = halved.outputs[0].uses()
        half, x = halved.inputs[0], product.inputs[0]
        halved.replace_input_with(0, x)
        product.replace_input_with(0, half)


def _name_layers(model: ir.Model) -> None:
    """Puts the path of a node's submodule before its name, so that a person can find it."""
    for node in model.graph:
        scopes = ast.literal_eval(node.metadata_props.get("pkg.torch.onnx.name_scopes", "[]"))
        if len(scopes) > 1 and scopes[-2]:
            node.name = f"{scopes[-2]}/{node.name}"


def _name_axes(model: ir.Model, *, inputs: Sequence[TensorSpec]) -> None:
    """Renames torch's symbols (s13, or s13 + 5 in later values) to the contract's names.

    An axis of steps (32*s13) has the contract's name in inputs, and its symbol a name after it.
    """
    names: dict[str, str] = {}
    for value, spec in zip(model.graph.inputs, inputs, strict=True):
        assert value.shape is not None
        for size, axis in zip(value.shape, spec.shape, strict=True):
            if isinstance(axis, str) and isinstance(size, ir.SymbolicDim):
                symbol = str(size.value).rpartition("*")[2]
                names[symbol] = axis if symbol == size.value else f"{axis}_steps"
    for value in _values(model.graph):
        if value.shape is not None:
            value.shape = ir.Shape([_rename(size, names=names) for size in value.shape])
    for value, spec in zip(model.graph.inputs, inputs, strict=True):
        value.shape = ir.Shape(spec.shape)


def _rename(size: int | ir.SymbolicDim, *, names: Mapping[str, str]) -> int | ir.SymbolicDim:
    if isinstance(size, int) or size.value is None:
        return size
    return ir.SymbolicDim(re.sub(r"\w+", lambda word: names.get(word[0], word[0]), size.value))


def _values(graph: ir.Graph) -> list[ir.Value]:
    outputs = [value for node in graph for value in node.outputs]
    return [*graph.inputs, *graph.initializers.values(), *outputs]


def _forget_origin(model: ir.Model) -> None:
    """Removes stack traces and paths of this machine, which are most of the file's size."""
    for holder in (model, model.graph, *model.graph, *_values(model.graph)):
        holder.metadata_props.clear()
        holder.doc_string = None
