"""Rewrites a program of torch into one that coremltools converts as it is written.

Axes: Core ML has no tensor of more than five axes. The one place of the model with six is the
cutting into windows, a permutation that coremltools itself takes apart.

Types: coremltools lets a half-precision operation become fp32, and all that follows it, where a
Python number takes part, and computes every division and padding in fp32. The precision is the
program's, so these places are written out.
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
"""Which argument of an operation may be a Python number."""

_FILLED: dict[Target, float | None] = {
    aten.zeros_like.default: 0.0,
    aten.ones_like.default: 1.0,
    aten.full_like.default: None,
}
"""Operations that give the same number everywhere, and which."""


def prepare_program(program: ExportedProgram) -> None:
    """Rewrites `program` in place; inputs, outputs, types and values stay what they are.

    Raises:
        NotImplementedError: an operation on more than five axes that has no equal on five.
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
    """Whether a node gives one fp16 tensor."""
    value = node.meta.get("val")
    return isinstance(value, Tensor) and value.dtype == torch.float16


def _spell_out(node: Node) -> None:
    """Writes out what torch leaves unsaid and coremltools does not know, or makes fp32."""
    if node.target is aten.max_pool2d.default and len(node.args) == 2:
        node.args = (*node.args, node.args[1])  # the stride, if none is said, is the window's side
    elif node.target is aten.clamp.default and len(node.args) == 2:
        node.target = aten.clamp_min.default  # without a largest number, which is fp32's
    elif node.target is aten.hardtanh.default and node.args[1:] == (0.0, 6.0):
        node.target, node.args = aten.relu6.default, node.args[:1]
    elif node.target is aten.pad.default and node.args[2:] == ("constant", 0.0):
        node.args = node.args[:2]
    elif node.target in _FILLED:  # whose numbers coremltools makes fp32
        value = node.args[1] if node.target is aten.full_like.default else _FILLED[node.target]
        dtype = node.meta["val"].dtype
        node.target, node.args, node.kwargs = (
            aten.full.default,
            (_shape(node), value),
            {"dtype": dtype},
        )


def _keep_half(node: Node, *, graph: Graph) -> None:
    """Writes out what coremltools would otherwise promote to fp32."""
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
    elif node.target is aten.pad.default and len(node.args) == 2:  # with zeros, that is
        with graph.inserting_before(node):
            node.replace_all_uses_with(_padded(node, graph=graph))
        graph.erase_node(node)


def _padded(node: Node, *, graph: Graph) -> Node:
    """Joins zeros to what `node` pads. Its sides are two numbers an axis, the last axis first."""
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
    """The nodes whose output has too many axes, those that feed one another together."""
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
