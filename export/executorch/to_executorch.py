"""Converts a graph to an ExecuTorch program, with a method for each bucket.

All methods of a file share its weights. What XNNPACK takes is in delegates; ExecuTorch's own
kernels compute the rest.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export import ExportedProgram

from export.buckets import bucket_axes, bucket_example, bucket_name
from export.converter import import_executorch_converter
from export.executorch.rewriting import Int8Layer, Rewritten
from export.graphs import Graph
from export.options import ExportError
from export.quiet import quiet
from samclip_sdk.runtimes.executorch.program import INPUT_NAMES, OUTPUT_NAMES, seal

_FACTOR = {"linear": 1, "mm": 1, "bmm": 1, "addmm": 2, "convolution": 1}
"""Operator that multiplies -> the index of its second factor among its arguments."""


@dataclass(frozen=True)
class Lowered:
    """A graph as ExecuTorch reads it.

    Attributes:
        content: the .pte file.
        delegated: the share of multiply-adds inside delegates, of 1.
    """

    content: bytes
    delegated: float


def trace_buckets(graph: Graph) -> dict[str, ExportedProgram]:
    """Traces a graph with fixed shapes: the name of each bucket -> its program."""
    module = copy.deepcopy(graph.module).eval()
    for tensor in (*module.parameters(), *module.buffers()):
        tensor.data = tensor.data.contiguous()  # XNNPACK's passes take no other layout of weights
    programs = {}
    for axes in bucket_axes(graph):
        example = bucket_example(graph, axes=axes)
        given = tuple(example[spec.name].to(getattr(torch, spec.dtype)) for spec in graph.inputs)
        programs[bucket_name(axes)] = _export(module, given)
    return programs


def lower(
    programs: Mapping[str, ExportedProgram],
    *,
    inputs: Sequence[str],
    outputs: Sequence[str],
    int8: Mapping[str, Int8Layer] = MappingProxyType({}),
) -> Lowered:
    """Lowers the programs of a graph's buckets into one file.

    Args:
        programs: method -> its program, of fixed shapes.
        inputs: the names of the inputs, in the programs' order.
        outputs: the names of the outputs, in the programs' order.
        int8: layer -> how it computes in int8; the others compute in float.

    Raises:
        ExportError: a program has an axis of any length.
    """
    for name, program in programs.items():
        if program.range_constraints:
            raise ExportError(
                f"ExecuTorch files have fixed axes, and {name} has axes of any length: trace it "
                "for each bucket, see export/buckets.py"
            )
    exir = import_executorch_converter()
    xnnpack = import_executorch_converter(
        "executorch.backends.xnnpack.partition.xnnpack_partitioner"
    )
    with quiet():
        edge = exir.to_edge_transform_and_lower(
            {name: _rewrite(program, int8=int8) for name, program in programs.items()},
            partitioner=[xnnpack.XnnpackPartitioner()],
            constant_methods={INPUT_NAMES: ",".join(inputs), OUTPUT_NAMES: ",".join(outputs)},
        )
        modules = [edge.exported_program(name).graph_module for name in programs]
        content = bytes(edge.to_executorch().buffer)
    inside = sum(multiply_adds(part) for module in modules for part in _delegates(module))
    outside = sum(multiply_adds(module) for module in modules)
    return Lowered(
        content=seal(content),
        delegated=inside / (inside + outside) if inside + outside else 1.0,
    )


def multiply_adds(module: fx.GraphModule) -> int:
    """Counts the multiply-adds of a lowered graph's products, without those of its delegates."""
    count = 0
    for node in module.graph.nodes:
        index = _FACTOR.get(_operator(node))
        if index is not None:
            factor = node.args[index].meta["val"].shape
            # A weight [out, ...] has all but its first axis in each sum, a matrix its rows.
            inner = factor[-2] if "mm" in _operator(node) else math.prod(factor[1:])
            count += node.meta["val"].numel() * inner
    return count


def _rewrite(program: ExportedProgram, *, int8: Mapping[str, Int8Layer]) -> ExportedProgram:
    """Writes a program in operators that XNNPACK takes; what depends on no input is computed."""
    module = import_executorch_converter("executorch.exir.passes.constant_prop_pass")
    traced = program.module(check_guards=False)
    assert isinstance(traced, fx.GraphModule)
    example, _ = program.example_inputs
    rewritten = _export(Rewritten(traced, int8=int8), example)
    kept = {torch.ops.quantized_decomposed.dequantize_per_channel.default}  # weights in int8
    folded: ExportedProgram = module.constant_prop_pass(rewritten, custom_skip_targets=kept)
    return folded


def _export(module: nn.Module, example: tuple[Tensor, ...]) -> ExportedProgram:
    with quiet():
        program = torch.export.export(module, example, strict=False)
        functional: ExportedProgram = program.run_decompositions({})
    return functional


def _delegates(module: fx.GraphModule) -> Any:
    """Yields the graphs of a method's delegates."""
    for node in module.graph.nodes:
        if node.op == "get_attr" and "lowered_module" in node.name:
            yield getattr(module, node.target).original_module.graph_module


def _operator(node: fx.Node) -> str:
    """The name of a node's operator without its overload: "linear"; empty if it has none."""
    name = getattr(node.target, "__name__", "") if node.op == "call_function" else ""
    return name.removeprefix("aten.").partition(".")[0]
