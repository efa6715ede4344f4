"""Which operations of a graph stay in fp32 when the rest computes in fp16, and why.

Three reasons, in this order: the contract; numbers that fp16 cannot hold, or nearly so; and what is
lost without it, as an acceptance test says. The last is searched for, and kept small: an fp32
operation costs two casts, and takes a Neural Engine out of the game.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.fx import Node
from torch.utils._pytree import tree_leaves, tree_map_only

from export.graphs import Arrays, Graph
from export.parity import Bounds, read_outputs
from export.precision.mixed_precision import contract_operations, halve, operation_of, operations
from export.precision.program_interpreter import ProgramInterpreter, run_program
from export.probes import Probe
from samclip_sdk.bundle.graph_spec import Pin
from samclip_sdk.errors import VerificationError

Accept = Callable[[ExportedProgram], "str | None"]
"""Says what is wrong with a program, or None."""

aten = torch.ops.aten

FP16_MAX = 65504.0
SAFE_PEAK = FP16_MAX / 4
"""Of what is seen on a few pictures: others may reach further, and so may sums on their way."""

MAX_RELEASES = 24
"""Trials to do without a pin. Each runs the whole graph on every probe."""

_DIVERGED = 0.05


@dataclass(frozen=True)
class Range:
    """What was seen of an operation, over all of its nodes and all feeds.

    Attributes:
        peak: the largest magnitude among its inputs and outputs.
        inner: the largest sum of squares that it makes on its way; 0 where it makes none.
        error: of its output when computed in fp16 from its fp32 inputs: the length of the
            difference, relative to the output's.
    """

    peak: float = 0.0
    inner: float = 0.0
    error: float = 0.0

    def merge(self, other: Range) -> Range:
        """What was seen of both."""
        return Range(
            peak=max(self.peak, other.peak),
            inner=max(self.inner, other.inner),
            error=max(self.error, other.error),
        )

    @property
    def overflows(self) -> bool:
        """Whether fp16 may not hold it.

        No margin on sums of squares: most devices take them in fp32, or take a mean instead.
        """
        return self.peak > SAFE_PEAK or self.inner > FP16_MAX


def measure_ranges(program: ExportedProgram, *, feeds: Sequence[Arrays]) -> dict[str, Range]:
    """Runs an fp32 program and measures each operation, in the time of about four runs.

    Args:
        program: fp32.
        feeds: inputs by name.

    Returns:
        Operation -> what was seen, in the order of the program.
    """
    ranges = dict.fromkeys(operations(program), Range())
    names = {node: name for name, nodes in operations(program).items() for node in nodes}
    interpreter = ProgramInterpreter(program)
    for feed in feeds:
        for node, value in interpreter.steps(_inputs(program, feed=feed)):
            if node in names:
                seen = _measure(interpreter, node=node, value=value)
                ranges[names[node]] = ranges[names[node]].merge(seen)
    return ranges


def plan_precision(
    program: ExportedProgram, *, graph: str, feeds: Sequence[Arrays], accept: Accept
) -> tuple[Pin, ...]:
    """Finds a small set of operations that stay in fp32.

    It starts with those of the contract and those that may overflow. While that is not accepted,
    the operations that suffer most by themselves are added, twice as many each time; then those
    that can be done without are let go, in halves of halves.

    Args:
        program: fp32.
        graph: its name, for the error.
        feeds: that ranges are taken from.
        accept: the judge of a halved program.

    Returns:
        The pins, in the order of the program. The same arguments give the same pins.

    Raises:
        VerificationError: not even fp32 throughout is accepted.
    """
    ranges = measure_ranges(program, feeds=feeds)
    contract = contract_operations(program)
    overflow = {name for name, seen in ranges.items() if seen.overflows} - contract
    fixed = contract | overflow
    # Sorting is stable: equal errors keep the order of the program.
    candidates = sorted((n for n in ranges if n not in fixed), key=lambda n: -ranges[n].error)
    refusal = accept(halve(program, pinned=fixed))
    count = 0
    while refusal is not None and count < len(candidates):
        count = min(len(candidates), max(1, 2 * count))
        refusal = accept(halve(program, pinned=fixed | set(candidates[:count])))
    if refusal is not None:
        layer = first_divergence(program, halve(program, pinned=fixed), feed=feeds[0])
        raise VerificationError(
            f"{graph} is not accepted even where all of it computes in fp32: {refusal}; in fp16 "
            f"{layer or 'no operation'} is the first to go wrong"
        )
    task = _release(candidates[:count], program=program, fixed=fixed, accept=accept)
    reasons: dict[str, Literal["contract", "overflow", "task"]] = {
        **dict.fromkeys(task, "task"),
        **dict.fromkeys(overflow, "overflow"),
        **dict.fromkeys(contract, "contract"),
    }
    return tuple(
        Pin(operation=name, reason=reasons[name], peak=seen.peak)
        for name, seen in ranges.items()
        if name in reasons
    )


class NumericGate:
    """Accepts a program whose outputs are eager torch's, within bounds. An `Accept`.

    Args:
        graph: what the program must be.
        probes: inputs and eager torch's outputs.
        bounds: to keep.
        random_weights: numeric gates only.
    """

    def __init__(
        self, graph: Graph, *, probes: Sequence[Probe], bounds: Bounds, random_weights: bool
    ) -> None:
        self._outputs = [spec.name for spec in graph.outputs]
        self._probes = probes
        self._bounds = bounds
        self._random_weights = random_weights

    def __call__(self, program: ExportedProgram) -> str | None:
        """The first metric that is beyond its bound, or None."""
        readings = read_outputs(
            [run_program(program, each.feed, outputs=self._outputs) for each in self._probes],
            expected=[each.expected for each in self._probes],
            bounds=self._bounds,
            random_weights=self._random_weights,
        )
        return next((str(reading) for reading in readings if not reading.kept), None)


def first_divergence(
    reference: ExportedProgram, candidate: ExportedProgram, *, feed: Arrays
) -> str | None:
    """Runs two versions of a program side by side and says where they part.

    Args:
        reference: fp32.
        candidate: what `halve` made of it.
        feed: inputs by name.

    Returns:
        The first operation whose output is not finite, or off by more than 5 % of its length. Where
        there is none, the one that adds most to the error of its inputs; None where both give the
        same.
    """
    inputs = _inputs(reference, feed=feed)
    steps = ProgramInterpreter(reference).steps(inputs)
    errors: dict[str, float] = {}
    worst, growth = None, 0.0
    for node, value in ProgramInterpreter(candidate).steps(inputs):
        name = operation_of(node)
        before = max((errors.get(each.name, 0.0) for each in node.all_input_nodes), default=0.0)
        errors[node.name] = before  # of casts, and of moves of constants, which are new
        if name is None:
            continue
        wanted = next(theirs for other, theirs in steps if other.name == node.name)
        error = errors[node.name] = _relative_error(value, wanted)
        if error > _DIVERGED:
            return name
        if error - before > growth:
            worst, growth = name, error - before
    return worst


def _release(
    pins: Sequence[str], *, program: ExportedProgram, fixed: Set[str], accept: Accept
) -> list[str]:
    """Leaves out of `pins`, the most harmful first, what is accepted without."""
    kept = list(pins)
    size, trials = len(kept) // 2, 0
    while size:
        end = len(kept)
        while end > 0 and trials < MAX_RELEASES:
            without = kept[: max(0, end - size)] + kept[end:]
            trials += 1
            if accept(halve(program, pinned=fixed | set(without))) is None:
                kept = without
            end -= size
        size = min(size, len(kept)) // 2
    return kept


def _measure(interpreter: ProgramInterpreter, *, node: Node, value: Any) -> Range:
    """Measures a node that was just run."""
    read = interpreter.fetch_args_kwargs_from_env(node)
    args, kwargs = tree_map_only(Tensor, _rounded, read)
    in_half = tree_map_only(Tensor, _rounded, interpreter.call_function(node.target, args, kwargs))
    tensors = [t for t in tree_leaves((read, value)) if isinstance(t, Tensor)]
    return Range(
        peak=max(_peak(tensor) for tensor in tensors if tensor.is_floating_point()),
        inner=_sum_of_squares(node, args=read[0]),
        error=_relative_error(in_half, value),
    )


def _sum_of_squares(node: Node, *, args: Sequence[Any]) -> float:
    """The largest sum of squares behind a variance or a length; 0 of other operators."""
    if node.target is aten.layer_norm.default:
        axes = list(range(-len(args[1]), 0))
        centred = args[0] - args[0].mean(dim=axes, keepdim=True)
        return float(centred.square_().sum(dim=axes).max())
    if node.target is aten.linalg_vector_norm.default:
        return float(args[0].square().sum(dim=args[2]).max())
    return 0.0


def _relative_error(found: Any, wanted: Any) -> float:
    """The length of the difference relative to that of `wanted`; infinite for non-numbers."""
    error = 0.0
    for mine, theirs in zip(tree_leaves(found), tree_leaves(wanted), strict=True):
        length = max(float(torch.linalg.vector_norm(theirs.float())), 1e-12)
        difference = float(torch.linalg.vector_norm(mine.float() - theirs.float())) / length
        error = max(error, difference if math.isfinite(difference) else math.inf)
    return error


def _inputs(program: ExportedProgram, *, feed: Arrays) -> list[Tensor]:
    return [torch.tensor(feed[name]) for name in program.graph_signature.user_inputs]


def _rounded(tensor: Tensor) -> Tensor:
    return tensor.half().float() if tensor.dtype == torch.float32 else tensor


def _peak(tensor: Tensor) -> float:
    low, high = tensor.aminmax()
    return float(torch.maximum(-low, high))
