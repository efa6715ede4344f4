"""Rewrites a torch program so that each operation has the requested precision.

Values that depend on no input are computed beforehand, and stored in the precision of the nodes
that read them.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
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

_CHECKS = frozenset({aten._assert_tensor_metadata.default})
_STATE = frozenset({InputKind.PARAMETER, InputKind.BUFFER, InputKind.CONSTANT_TENSOR})
_SUFFIX = {torch.float32: "_fp32", torch.float16: "_fp16"}


def is_float(node: Node) -> bool:
    """Whether a node's output is floating-point."""
    values = tree_leaves(node.meta.get("val"))
    return any(isinstance(value, Tensor) and value.is_floating_point() for value in values)


def fold_constants(program: ExportedProgram) -> dict[Node, Any]:
    """The value of every node that depends on no input, including the state's own tensors.

    Expanded constants are excluded: they are expanded at run time.
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
                and node.target is not aten.expand.default  # else its copies would be stored
                and all(n in values for n in node.all_input_nodes)
            ):
                args, kwargs = map_arg((node.args, node.kwargs), values.__getitem__)
                values[node] = node.target(*args, **kwargs)
    return values


def read_in(node: Node, *, computed_in: Mapping[Node, torch.dtype]) -> torch.dtype | None:
    """The precision of `node`'s float inputs: fp32 for comparisons and outputs, None for shapes."""
    if node.op == "output":
        return torch.float32
    if any(isinstance(value, Tensor) for value in tree_leaves(node.meta.get("val"))):
        return computed_in.get(node, torch.float32)
    return None


@dataclass(frozen=True)
class _Stored:
    """A tensor of the new program's state: a constant in the precision of its reader."""

    source: Node
    dtype: torch.dtype

    @property
    def suffix(self) -> str:
        return "_fp16" if self.dtype == torch.float16 else ""


class Rewriter:
    """Builds the new program, node by node.

    Args:
        program: fp32, from `export_program`; it is not changed.
        constants: the values that depend on no input, see `fold_constants`.
        computed_in: the precision of every other node with a floating-point output.
    """

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
        # What an operation asks about an open axis must not fix its length: the old program, which
        # has the same axes, would have it fixed too.
        shapes = self._mode.shape_env
        self._guards = nullcontext if shapes is None else shapes.suppress_guards

    def rewrite(self) -> ExportedProgram:
        """Returns the new program, which shares its fp32 tensors with the old one.

        Raises:
            NotImplementedError: an operator's output has another precision than its input.
        """
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
            wanted = read_in(node, computed_in=self._computed_in)
            for each in node.all_input_nodes:
                if each in self._constants:
                    dtype = wanted if is_float(each) and wanted else self._constants[each].dtype
                    read[_Stored(each, dtype)] = None
        return list(read)

    def _copy(self, node: Node) -> None:
        """Adds `node` to the new graph, with its inputs cast to its precision."""
        if node.target in _CHECKS:
            return
        assert callable(node.target)
        wanted = read_in(node, computed_in=self._computed_in)
        args, kwargs = map_arg((node.args, node.kwargs), lambda each: self._read(each, wanted))
        if kwargs.get("dtype") == torch.float32:
            kwargs = {**kwargs, "dtype": wanted}
        copy = self._graph.create_node("call_function", node.target, args, kwargs, name=node.name)
        copy.meta = dict(node.meta)
        fake_args, fake_kwargs = map_arg((args, kwargs), lambda each: each.meta["val"])
        with self._mode, self._guards():
            copy.meta["val"] = node.target(*fake_args, **fake_kwargs)
        if is_float(node) and any(v.dtype != wanted for v in tree_leaves(copy.meta["val"])):
            raise NotImplementedError(f"{node.name} ({node.target}) does not compute in {wanted}")
        self._copies[node] = copy

    def _read(self, node: Node, wanted: torch.dtype | None) -> Node:
        """The new graph's node for the output of `node`, in the precision `wanted`."""
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
