"""Rewrites an fp32 program into one that computes in fp16, with the casts written out.

The rewrite is done once, on the torch program from which every converter starts. So an operation
that a plan keeps in fp32 stays in fp32 in ONNX, in TensorRT's strongly typed networks and in Core
ML, and measurements on the program are valid for all of them.

An operation is named by its submodule's path and its operator, "blocks.3.attn:softmax" for
instance. All nodes of that name are treated alike: the chunks of global attention, and the same
layer at other resolutions and batch sizes.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence, Set

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.fx import Node

from export.precision.program_rewriter import (
    Constants,
    Rewriter,
    fold_constants,
    is_float,
    read_in,
)

aten = torch.ops.aten

MOVES = frozenset(
    {
        *(aten.view.default, aten._unsafe_view.default, aten.permute.default, aten.alias.default),
        *(aten.transpose.int, aten.unsqueeze.default, aten.squeeze.dim, aten.slice.Tensor),
        *(aten.select.int, aten.expand.default, aten.clone.default, aten.unbind.int),
        *(aten.split.Tensor, aten.split_with_sizes.default),
        *(aten.cat.default, aten.stack.default, aten.index.Tensor, aten.embedding.default),
        *(aten.where.self, aten.relu.default, aten.amax.default, aten.max_pool2d.default),
        *(aten.pad.default, aten.constant_pad_nd.default, aten._to_copy.default),
        *(aten.ones_like.default, aten.zeros_like.default, aten.full.default, operator.getitem),
    }
)
"""Operators that compute nothing, but move or select their input's numbers. No plan names them:
they take the precision of their input."""

_PERIODIC = frozenset({aten.sin.default, aten.cos.default})
_LENGTHS = frozenset({aten.linalg_vector_norm.default})


def operation_of(node: Node) -> str | None:
    """The operation that `node` is a part of; None if it computes nothing in floating point."""
    if node.op != "call_function" or node.target in MOVES or not is_float(node):
        return None
    modules = tuple((node.meta.get("nn_module_stack") or {}).values())
    path = modules[-1][0].partition("@")[0] if modules else ""  # x@1 is the second call of x
    assert isinstance(node.target, torch._ops.OpOverload)
    return f"{path}:{node.target._schema.name.partition('::')[2]}"


def operations(program: ExportedProgram) -> dict[str, tuple[Node, ...]]:
    """Operation -> its nodes, in the order of the program.

    Nodes that depend on no input are not included: `halve` computes them in fp32.
    """
    constants = fold_constants(program)
    found: dict[str, tuple[Node, ...]] = {}
    for node in program.graph.nodes:
        name = operation_of(node)
        if name is not None and node not in constants:
            found[name] = (*found.get(name, ()), node)
    return found


def contract_operations(program: ExportedProgram) -> frozenset[str]:
    """The operations that are always in fp32, because the contract requires it.

    * The normalisation of pixels: the padding's colour is the rounded mean, so that 0.3 levels are
      left after the mean is subtracted. The mean's rounding to fp16 would be 4 % of that.
    * Fourier features and the coordinates that they are made of: in fp16 a coordinate above 512 has
      half-pixel steps, and a sine has the absolute rounding error of its phase.
    * The last L2 normalisation and its epsilon of 1e-6, of which fp16 holds three bits.
    """
    nodes = list(program.graph.nodes)
    pixels, wanted = _pixels(nodes), set()
    for node in reversed(nodes):
        if node.target in _PERIODIC or any(user in wanted for user in node.users):
            wanted.add(node)
    normalised: set[Node] = set()
    for node in nodes:
        if node.target in _LENGTHS or not normalised.isdisjoint(node.all_input_nodes):
            normalised.add(node)
        elif not pixels.isdisjoint(node.all_input_nodes):
            wanted.add(node)
    wanted |= normalised
    return frozenset(
        name for name, nodes in operations(program).items() if not wanted.isdisjoint(nodes)
    )


def _pixels(nodes: Sequence[Node]) -> set[Node]:
    """The inputs of bytes, and the nodes that only move or convert them."""
    found: set[Node] = set()
    for node in nodes:
        value = node.meta.get("val")
        given = isinstance(value, Tensor) and value.dtype == torch.uint8
        moved = node.target in MOVES and not found.isdisjoint(node.all_input_nodes)
        if moved or (given and node.op == "placeholder"):
            found.add(node)
    return found


def halve(program: ExportedProgram, *, pinned: Set[str]) -> ExportedProgram:
    """Rewrites a program so that it computes in fp16.

    Inputs and outputs keep their types; a cast is inserted between fp32 and fp16. Weights are
    stored in the precision of the operations that read them. Values that depend on no input
    (position tables by index, a causal mask) are computed here in fp32 and stored in the same way.

    Args:
        program: fp32, from `export_program`; it is not changed.
        pinned: the operations that stay in fp32.

    Returns:
        A program that shares its fp32 tensors with `program`. Nodes keep their names.

    Raises:
        ValueError: the program does not have a pinned operation.
        NotImplementedError: an operator's output has another precision than its input.
    """
    known = operations(program)
    unknown = sorted(pinned - known.keys())
    if unknown:
        raise ValueError(f"the program has no operation {', '.join(unknown)}")
    constants = fold_constants(program)
    computed_in = {
        node: torch.float32 if name in pinned else torch.float16
        for name, nodes in known.items()
        for node in nodes
    }
    _settle_moves(program, computed_in=computed_in, constants=constants)
    return Rewriter(program, constants=constants, computed_in=computed_in).rewrite()


def _settle_moves(
    program: ExportedProgram, *, computed_in: dict[Node, torch.dtype], constants: Constants
) -> None:
    """Adds to `computed_in` the nodes that only move numbers.

    They take the precision of their inputs, fp32 if the inputs differ. Nodes that move only
    constants, or convert integers to floats, take the precision of the nodes that read them.
    """
    free = [node for node in program.graph.nodes if node.op == "call_function" and is_float(node)]
    free = [node for node in free if node not in computed_in and node not in constants]
    for node in free:
        moved = {
            computed_in.get(each, torch.float32 if each.op == "placeholder" else None)
            for each in node.all_input_nodes
            if is_float(each) and each not in constants
        } - {None}
        if moved:
            computed_in[node] = torch.float16 if moved == {torch.float16} else torch.float32
    for node in reversed(free):
        if node not in computed_in:
            wanted = {read_in(user, computed_in=computed_in) for user in node.users} - {None}
            computed_in[node] = torch.float16 if wanted == {torch.float16} else torch.float32
