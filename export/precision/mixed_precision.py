"""Rewrites an fp32 program into one that computes in fp16, with the casts written out.

The rewrite is done once, on the program of torch that every converter starts from. So an operation
that a plan keeps in fp32 is kept there by ONNX, by TensorRT's strongly typed networks and by Core
ML alike, and what is measured on the program holds for all of them.

An operation is known by its submodule's path and its operator, "blocks.3.attn:softmax" for
instance. All nodes of that name are treated alike: the chunks of global attention, and the same
layer at other resolutions and batch sizes.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.export.graph_signature import (
    ExportGraphSignature,
    InputKind,
    InputSpec,
    TensorArgument,
)
from torch.fx import Graph, Node, map_arg
from torch.utils._pytree import tree_leaves

Constants: TypeAlias = "Mapping[Node, Any]"

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
"""Operators that compute nothing, but choose among the numbers that they are given. No plan names
them: they take the precision of what they move."""

_CHECKS = frozenset({aten._assert_tensor_metadata.default})
_PERIODIC = frozenset({aten.sin.default, aten.cos.default})
_LENGTHS = frozenset({aten.linalg_vector_norm.default})
_STATE = frozenset({InputKind.PARAMETER, InputKind.BUFFER, InputKind.CONSTANT_TENSOR})
_SUFFIX = {torch.float32: "_fp32", torch.float16: "_fp16"}


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

    What depends on no input is not among them: `halve` computes it, in fp32.
    """
    constants = _fold(program)
    found: dict[str, tuple[Node, ...]] = {}
    for node in program.graph.nodes:
        name = operation_of(node)
        if name is not None and node not in constants:
            found[name] = (*found.get(name, ()), node)
    return found


def contract_operations(program: ExportedProgram) -> frozenset[str]:
    """The operations that are in fp32 whatever is measured, since the contract says so.

    * What reads pixels, and takes their mean away: the padding's colour is the rounded mean, and
      what is left of it is 0.3 levels, of which the mean's rounding to fp16 would be 4 %.
    * Fourier features and the coordinates that they are made of: in fp16 a coordinate above 512 has
      half-pixel steps, and a sine takes a phase's rounding as it is, not relative to the phase.
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
    """Inputs of bytes, and what only moves or converts them."""
    found: set[Node] = set()
    for node in nodes:
        value = node.meta.get("val")
        given = isinstance(value, Tensor) and value.dtype == torch.uint8
        moved = node.target in MOVES and not found.isdisjoint(node.all_input_nodes)
        if moved or (given and node.op == "placeholder"):
            found.add(node)
    return found


def is_float(node: Node) -> bool:
    """Whether a node gives floating-point numbers."""
    values = tree_leaves(node.meta.get("val"))
    return any(isinstance(value, Tensor) and value.is_floating_point() for value in values)


def halve(program: ExportedProgram, *, pinned: Set[str]) -> ExportedProgram:
    """Rewrites a program so that it computes in fp16.

    Inputs and outputs keep their types; a cast stands where fp32 and fp16 meet. Weights are stored
    in the precision of what reads them. What depends on no input (position tables by index, a
    causal mask) is computed here, in fp32, and stored likewise.

    Args:
        program: fp32, from `export_program`; it is not changed.
        pinned: the operations that stay in fp32.

    Returns:
        A program that shares its fp32 tensors with `program`. Nodes keep their names.

    Raises:
        ValueError: a pinned operation is none of the program's.
        NotImplementedError: an operator that answers in another precision than it is given.
    """
    known = operations(program)
    unknown = sorted(pinned - known.keys())
    if unknown:
        raise ValueError(f"the program has no operation {', '.join(unknown)}")
    constants = _fold(program)
    computed_in = {
        node: torch.float32 if name in pinned else torch.float16
        for name, nodes in known.items()
        for node in nodes
    }
    _settle_moves(program, computed_in=computed_in, constants=constants)
    return _Rewriter(program, constants=constants, computed_in=computed_in).rewrite()


def _fold(program: ExportedProgram) -> dict[Node, Any]:
    """The value of every node that depends on no input, the state's own tensors among them.

    What is only repeated is repeated at run time.
    """
    state = {**program.constants, **program.state_dict}
    kinds = {spec.arg.name: spec for spec in program.graph_signature.input_specs}
    values: dict[Node, Any] = {}
    with torch.no_grad():
        for node in program.graph.nodes:
            if node.op == "placeholder" and kinds[node.name].kind in _STATE:
                values[node] = state[kinds[node.name].target].detach()
            elif (
                node.op == "call_function"
                and node.target is not aten.expand.default  # or its copies would be stored
                and all(n in values for n in node.all_input_nodes)
            ):
                args, kwargs = map_arg((node.args, node.kwargs), values.__getitem__)
                values[node] = node.target(*args, **kwargs)
    return values


def _settle_moves(
    program: ExportedProgram, *, computed_in: dict[Node, torch.dtype], constants: Constants
) -> None:
    """Adds to `computed_in` the nodes that only move numbers.

    They take the precision of what they move, fp32 where it differs. Those that move nothing but
    constants, or make numbers of integers, take the precision of what reads them.
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
            read_in = {_read_in(user, computed_in=computed_in) for user in node.users} - {None}
            computed_in[node] = torch.float16 if read_in == {torch.float16} else torch.float32


def _read_in(node: Node, *, computed_in: Mapping[Node, torch.dtype]) -> torch.dtype | None:
    """The precision in which `node` takes floats: comparisons and outputs fp32, shapes in any."""
    if node.op == "output":
        return torch.float32
    if any(isinstance(value, Tensor) for value in tree_leaves(node.meta.get("val"))):
        return computed_in.get(node, torch.float32)
    return None


@dataclass(frozen=True)
class _Stored:
    """A tensor of the new program's state: a constant in the precision of what reads it."""

    source: Node
    dtype: torch.dtype

    @property
    def suffix(self) -> str:
        return "_fp16" if self.dtype == torch.float16 else ""


class _Rewriter:
    """Builds the new program, node by node."""

    def __init__(
        self,
        program: ExportedProgram,
        *,
        constants: Constants,
        computed_in: Mapping[Node, torch.dtype],
    ) -> None:
        self._program = program
        self._constants = constants
        self._computed_in = computed_in
        self._graph = Graph()
        self._copies: dict[Node, Node] = {}
        self._stored: dict[_Stored, Node] = {}
        self._casts: dict[tuple[Node, torch.dtype], Node] = {}
        self._state: dict[str, Tensor] = {}
        values = (leaf for n in program.graph.nodes for leaf in tree_leaves(n.meta.get("val")))
        self._mode = next(v.fake_mode for v in values if hasattr(v, "fake_mode"))

    def rewrite(self) -> ExportedProgram:
        """Returns the new program."""
        specs = self._store_constants()
        inputs = [s for s in self._program.graph_signature.input_specs if s.kind not in _STATE]
        names = {spec.arg.name for spec in inputs}
        for node in self._program.graph.nodes:
            if node.op == "placeholder" and node.name in names:
                self._copies[node] = self._graph.node_copy(node)
            elif node.op == "call_function" and node not in self._constants:
                self._copy(node)
            elif node.op == "output":
                outputs = map_arg(node.args[0], lambda each: self._read(each, torch.float32))
                self._graph.output(outputs)
        signature = ExportGraphSignature(
            input_specs=[*specs, *inputs],
            output_specs=[
                replace(spec, arg=TensorArgument(name=found.name))
                for spec, found in zip(
                    self._program.graph_signature.output_specs, outputs, strict=True
                )
            ],
        )
        return ExportedProgram(
            root=nn.Module(),
            graph=self._graph,
            graph_signature=signature,
            state_dict=self._state,
            range_constraints=dict(self._program.range_constraints),
            module_call_graph=self._program.module_call_graph,
            example_inputs=self._program.example_inputs,
            constants={},
            verifiers=self._program.verifiers,
        )

    def _store_constants(self) -> list[InputSpec]:
        """Makes a placeholder for every constant that is read, before any other node."""
        targets = {
            spec.arg.name: spec.target
            for spec in self._program.graph_signature.input_specs
            if spec.kind in _STATE
        }
        specs = []
        for stored in self._constants_read():
            name = f"{stored.source.name}{stored.suffix}"
            target = f"{targets.get(stored.source.name, stored.source.name)}{stored.suffix}"
            tensor = self._constants[stored.source].to(stored.dtype).contiguous()
            node = self._graph.placeholder(name)
            node.meta["val"] = self._mode.from_tensor(tensor, static_shapes=True)
            self._stored[stored] = node
            self._state[target] = tensor
            argument = TensorArgument(name=node.name)
            specs.append(InputSpec(InputKind.BUFFER, argument, target, persistent=True))
        return specs

    def _constants_read(self) -> list[_Stored]:
        read: dict[_Stored, None] = {}
        for node in self._program.graph.nodes:
            if node in self._constants or node.target in _CHECKS:
                continue
            wanted = _read_in(node, computed_in=self._computed_in)
            for each in node.all_input_nodes:
                if each in self._constants:
                    dtype = wanted if is_float(each) and wanted else self._constants[each].dtype
                    read[_Stored(each, dtype)] = None
        return list(read)

    def _copy(self, node: Node) -> None:
        """Adds `node` to the new graph, with its inputs cast to what it computes in."""
        if node.target in _CHECKS:
            return
        assert callable(node.target)
        wanted = _read_in(node, computed_in=self._computed_in)
        args, kwargs = map_arg((node.args, node.kwargs), lambda each: self._read(each, wanted))
        if kwargs.get("dtype") == torch.float32:
            kwargs = {**kwargs, "dtype": wanted}
        copy = self._graph.create_node("call_function", node.target, args, kwargs, name=node.name)
        copy.meta = dict(node.meta)
        fake_args, fake_kwargs = map_arg((args, kwargs), lambda each: each.meta["val"])
        with self._mode:
            copy.meta["val"] = node.target(*fake_args, **fake_kwargs)
        if is_float(node) and any(v.dtype != wanted for v in tree_leaves(copy.meta["val"])):
            raise NotImplementedError(f"{node.name} ({node.target}) does not compute in {wanted}")
        self._copies[node] = copy

    def _read(self, node: Node, wanted: torch.dtype | None) -> Node:
        """The node of the new graph that gives what `node` gave, in the precision `wanted`."""
        if node in self._constants:
            dtype = wanted if is_float(node) and wanted else self._constants[node].dtype
            return self._stored[_Stored(node, dtype)]
        copy = self._copies[node]
        value = copy.meta.get("val")
        if wanted is None or not isinstance(value, Tensor) or not value.is_floating_point():
            return copy
        if value.dtype == wanted:
            return copy
        if (copy, wanted) not in self._casts:
            cast = self._graph.create_node(
                "call_function",
                aten._to_copy.default,
                (copy,),
                {"dtype": wanted},
                name=f"{copy.name}{_SUFFIX[wanted]}",
            )
            cast.meta = {**copy.meta, "val": value.to(wanted)}
            self._casts[copy, wanted] = cast
        return self._casts[copy, wanted]
