"""Plans which operations of a graph stay in fp32 if the others compute in fp16, with the reasons.

There are three reasons, in this order: the contract; numbers that fp16 can hardly hold or not at
all; and an acceptance test that fails otherwise. The operations of the last kind are found by a
search and kept few: an fp32 operation costs two casts, and does not run on a Neural Engine.
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
"""Returns the fault of a program, or None."""

aten = torch.ops.aten

FP16_MAX = 65504.0
SAFE_PEAK = FP16_MAX / 4
"""The largest safe magnitude on a few images; other images, and partial sums, may have larger."""

MAX_RELEASES = 24
"""The number of trials to release pins. Each trial runs the whole graph on every probe."""

_MEASURED = 24  # feeds, at most: each takes the time of about four runs
_DIVERGED = 0.05


@dataclass(frozen=True)
class Range:
    """The measurements of an operation, over all of its nodes and all feeds.

    Attributes:
        peak: the largest magnitude among its inputs and outputs.
        inner: the largest sum of squares inside the operation; 0 if it has none.
        error: the error of its output, computed in fp16 from its fp32 inputs: the length of the
            difference, relative to the output's length.
    """

    peak: float = 0.0
    inner: float = 0.0
    error: float = 0.0

    def merge(self, other: Range) -> Range:
        """Merges the measurements of two."""
        return Range(
            peak=max(self.peak, other.peak),
            inner=max(self.inner, other.inner),
            error=max(self.error, other.error),
        )

    @property
    def overflows(self) -> bool:
        """Whether its numbers may overflow in fp16.

        Sums of squares have no margin: most devices compute them in fp32, or compute a mean.
        """
        return self.peak > SAFE_PEAK or self.inner > FP16_MAX


def measure_ranges(program: ExportedProgram, *, feeds: Sequence[Arrays]) -> dict[str, Range]:
    """Runs an fp32 program and measures each operation, in the time of about four runs.

    Args:
        program: fp32.
        feeds: inputs by name.

    Returns:
        Operation -> its measurements, in the order of the program.
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

    It starts with the operations of the contract and those that may overflow. Until the program is
    accepted, the operations with the largest errors of their own are added, twice as many each
    time. Then operations that are not needed are removed again by bisection.

    Args:
        program: fp32.
        graph: its name, for the error.
        feeds: the inputs that ranges are taken from; of many, some.
        accept: the acceptance test of a halved program.

    Returns:
        The pins, in the order of the program. The same arguments give the same pins.

    Raises:
        VerificationError: even a program in fp32 only is not accepted.
    """
    ranges = measure_ranges(program, feeds=feeds[:: -(-len(feeds) // _MEASURED)])
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
    """Accepts a program whose outputs are within bounds of eager torch's; implements `Accept`.

    Args:
        graph: the graph that the program was made from.
        probes: inputs and eager torch's outputs.
        bounds: the bounds to keep.
        random_weights: if True, no IoU is measured.
    """

    def __init__(
        self, graph: Graph, *, probes: Sequence[Probe], bounds: Bounds, random_weights: bool
    ) -> None:
        self._outputs = [spec.name for spec in graph.outputs]
        self._probes = probes
        self._bounds = bounds
        self._random_weights = random_weights

    def __call__(self, program: ExportedProgram) -> str | None:
        """The first metric that breaks its bound, or None."""
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
    """Runs two versions of a program in parallel and finds where they diverge.

    Args:
        reference: fp32.
        candidate: the reference after `halve`.
        feed: inputs by name.

    Returns:
        The first operation whose output is not finite, or has an error above 5 % of its length. If
        there is none, the operation that adds most to the error of its inputs; None if both outputs
        are the same.
    """
    inputs = _inputs(reference, feed=feed)
    steps = ProgramInterpreter(reference).steps(inputs)
    errors: dict[str, float] = {}
    worst, growth = None, 0.0
    for node, value in ProgramInterpreter(candidate).steps(inputs):
        name = operation_of(node)
        before = max((errors.get(each.name, 0.0) for each in node.all_input_nodes), default=0.0)
        errors[node.name] = before  # for new nodes: casts, and moves of constants
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
    """Removes the pins without which the program is accepted; `pins` has the most harmful first."""
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
    """The largest sum of squares in a variance or a length; 0 for other operators."""
    if node.target is aten.layer_norm.default:
        axes = list(range(-len(args[1]), 0))
        centred = args[0] - args[0].mean(dim=axes, keepdim=True)
        return float(centred.square_().sum(dim=axes).max())
    if node.target is aten.linalg_vector_norm.default:
        return float(args[0].square().sum(dim=args[2]).max())
    return 0.0


def _relative_error(found: Any, wanted: Any) -> float:
    """The length of the difference, relative to the length of `wanted`; infinite for NaN."""
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
