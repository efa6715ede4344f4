"""Rewrites a torch program so that coremltools converts it without changes of types.

Axes: Core ML has no tensor of more than five axes. The only place of the model with six is the
partition into windows, a permutation that coremltools itself splits.

Types: if a Python number takes part in a half-precision operation, coremltools converts it and all
later operations to fp32. It also computes every division and padding in fp32. The program decides
the precision, so these operations are written out.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.fx import Graph, Node
from torch.fx.node import Target

aten = torch.ops.aten

MAX_AXES = 5

_NUMBER_AT: dict[Target, int] = {
    aten.add.Tensor: 1,
    aten.sub.Tensor: 1,
    aten.mul.Tensor: 1,
    aten.div.Tensor: 1,
    aten.rsub.Scalar: 1,
    aten.clamp_min.default: 1,
    aten.layer_norm.default: 4,
}
"""Operation -> the index of the argument that may be a Python number."""

_FILLED: dict[Target, float | None] = {
    aten.zeros_like.default: 0.0,
    aten.ones_like.default: 1.0,
    aten.full_like.default: None,
}
"""Operation that fills a tensor with one number -> the number; None if it is an argument."""


def prepare_program(program: ExportedProgram) -> None:
    """Rewrites `program` in place; inputs, outputs, types and values do not change.

    Raises:
        NotImplementedError: an operation on more than five axes has no equivalent on five.
    """
    for node in list(program.graph.nodes):
        _spell_out(node)
        if node.op == "call_function" and _is_half(node):
            _keep_half(node, graph=program.graph)
    for group in _groups_of_many_axes(program):
        if not any(node.target is aten.permute.default for node in group):
            names = ", ".join(sorted(f"{node.name} ({node.target})" for node in group))
            raise NotImplementedError(
                f"Core ML has tensors of at most {MAX_AXES} axes; these have more: {names}"
            )
    program.graph_module.recompile()


def _is_half(node: Node) -> bool:
    """Whether a node's output is one fp16 tensor."""
    value = node.meta.get("val")
    return isinstance(value, Tensor) and value.dtype == torch.float16


def _spell_out(node: Node) -> None:
    """Writes out torch's defaults that coremltools does not know or converts to fp32."""
    if node.target is aten.max_pool2d.default and len(node.args) == 2:
        node.args = (*node.args, node.args[1])  # the default of the stride is the window's side
    elif node.target is aten.clamp.default and len(node.args) == 2:
        node.target = aten.clamp_min.default  # coremltools' default of the maximum is fp32's
    elif node.target is aten.hardtanh.default and node.args[1:] == (0.0, 6.0):
        node.target, node.args = aten.relu6.default, node.args[:1]
    elif node.target is aten.pad.default and node.args[2:] == ("constant", 0.0):
        node.args = node.args[:2]
    elif node.target in _FILLED:  # coremltools would make their numbers fp32
        value = node.args[1] if node.target is aten.full_like.default else _FILLED[node.target]
        dtype = node.meta["val"].dtype
        node.target, node.args, node.kwargs = (
            aten.full.default,
            (_shape(node), value),
            {"dtype": dtype},
        )


def _keep_half(node: Node, *, graph: Graph) -> None:
    """Writes out operations that coremltools would otherwise convert to fp32."""
    position = _NUMBER_AT.get(node.target, len(node.args))
    number = node.args[position] if position < len(node.args) else None
    if isinstance(number, (int, float)):
        with graph.inserting_before(node):
            half = graph.call_function(aten.full.default, ([], number), {"dtype": torch.float16})
        half.meta["val"] = node.meta["val"].new_empty([])
        node.update_arg(position, half)
    if node.target is aten.div.Tensor:
        with graph.inserting_after(node):
            cast = graph.call_function(aten._to_copy.default, (node,), {"dtype": torch.float16})
        cast.meta["val"] = node.meta["val"]
        node.meta["val"] = node.meta["val"].float()
        node.replace_all_uses_with(cast, delete_user_cb=lambda user: user is not cast)
    elif node.target is aten.pad.default and len(node.args) == 2:  # pads with zeros
        with graph.inserting_before(node):
            node.replace_all_uses_with(_padded(node, graph=graph))
        graph.erase_node(node)


def _padded(node: Node, *, graph: Graph) -> Node:
    """Pads by concatenating zeros; `node` has two numbers for each axis, the last axis first."""
    x, sides = node.args
    assert isinstance(x, Node)
    assert isinstance(sides, Sequence)
    for index, length in enumerate(sides):
        if length:
            assert isinstance(length, int)
            shape = _shape(x)
            axis = len(shape) - 1 - index // 2
            shape[axis] = length
            zeros = graph.call_function(aten.full.default, (shape, 0.0), {"dtype": torch.float16})
            zeros.meta["val"] = x.meta["val"].new_zeros(shape)
            pair = [x, zeros] if index % 2 else [zeros, x]
            joined = graph.call_function(aten.cat.default, (pair, axis))
            joined.meta["val"] = torch.cat([each.meta["val"] for each in pair], axis)
            x = joined
    return x


def _groups_of_many_axes(program: ExportedProgram) -> list[set[Node]]:
    """The connected groups of nodes whose outputs have too many axes."""
    groups: list[set[Node]] = []
    for node in program.graph.nodes:
        if len(_shape(node)) > MAX_AXES:
            joined = [group for group in groups if not group.isdisjoint(node.all_input_nodes)]
            groups = [group for group in groups if group not in joined]
            groups.append({node}.union(*joined))
    return groups


def _shape(node: Node) -> list[int]:
    value = node.meta.get("val")
    return list(value.shape) if isinstance(value, Tensor) else []
