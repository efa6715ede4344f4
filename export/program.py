"""Exports a part of the model as a torch program, from which every converter starts."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram


def export_program(
    module: nn.Module,
    *,
    example: Mapping[str, Tensor],
    dynamic_axes: Mapping[str, Mapping[int, str]],
    longest: Mapping[str, int] = MappingProxyType({}),
    multiples: Mapping[str, int] = MappingProxyType({}),
) -> ExportedProgram:
    """Traces `module` and decomposes it into functional operators.

    Args:
        module: the part, in eval mode, on the CPU, fp32.
        example: a tensor for each of the graph's inputs, in the order of `module.forward`. Its
            dynamic axes must be longer than 1, because torch.export takes a 1 for a constant.
        dynamic_axes: input -> axis -> symbolic name; all other axes are static, as in `example`.
        longest: symbolic name -> the greatest length; any length if it is absent.
        multiples: symbolic name -> what divides its length; 1 if it is absent.

    Returns:
        The program. Its nodes have the path of their submodule.
    """
    names = {name for axes in dynamic_axes.values() for name in axes.values()}
    dims = {
        name: _dim(name, longest=longest.get(name), step=multiples.get(name, 1)) for name in names
    }
    shapes = tuple(
        {axis: dims[name] for axis, name in dynamic_axes.get(tensor, {}).items()}
        for tensor in example
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own: deprecations and notes on shared axis names
        program: ExportedProgram = torch.export.export(
            module, tuple(example.values()), dynamic_shapes=shapes, strict=False
        )
        program = program.run_decompositions({})
    _drop_aliases(program)
    return program


def _dim(name: str, *, longest: int | None, step: int) -> Any:
    """A dimension of torch.export; of a multiple, its number of steps is the symbol."""
    if step == 1:
        return torch.export.Dim(name, max=longest)
    return step * torch.export.Dim(f"{name}_steps", max=longest and longest // step)


def _drop_aliases(program: ExportedProgram) -> None:
    """Removes alias nodes left by `reshape`, which converters do not support."""
    outputs = set(program.graph.output_node().all_input_nodes)
    for node in list(program.graph.nodes):
        if node.target is torch.ops.aten.alias.default and node not in outputs:
            node.replace_all_uses_with(node.args[0])
            program.graph.erase_node(node)
    program.graph_module.recompile()
