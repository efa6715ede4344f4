"""Runs torch programs; fp16 programs run as on a GPU: stored in fp16, summed in fp32."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind
from torch.fx import Interpreter, Node
from torch.utils._pytree import tree_leaves, tree_map_only

from export.graphs import Arrays
from export.precision.mixed_precision import operation_of


def run_program(
    program: ExportedProgram, feed: Arrays, *, outputs: Sequence[str]
) -> dict[str, NDArray[np.generic]]:
    """Runs a program as `ProgramInterpreter` does.

    Args:
        program: from `export_program` or `halve`.
        feed: an array for each of its inputs, by the names of the module's arguments.
        outputs: the names for its outputs, in their order.

    Returns:
        Output name -> array.
    """
    answer = ProgramModule(program)(
        *(torch.tensor(feed[name]) for name in program.graph_signature.user_inputs)
    )
    return {name: tensor.numpy() for name, tensor in zip(outputs, answer, strict=True)}


class ProgramInterpreter(Interpreter):
    """Runs a program node by node on a CPU.

    An fp16 operation is computed in fp32 on its fp16 inputs, and the result is rounded. Sums are
    exact to fp32, as on GPUs. A CPU without fp16 arithmetic does this in twice the time of fp32;
    fp16 itself would take 50 times as long. So it shows the effects of rounding and range of stored
    numbers. The effects of sums in fp16 can only be measured on a device that makes them.
    """

    def __init__(self, program: ExportedProgram) -> None:
        super().__init__(program.graph_module)
        state = {**program.constants, **program.state_dict}
        self._state = [
            state[str(spec.target)]
            for spec in program.graph_signature.input_specs
            if spec.kind != InputKind.USER_INPUT
        ]

    def steps(self, inputs: Sequence[Tensor]) -> Iterator[tuple[Node, Any]]:
        """Runs the program; a value is freed after its last use.

        Args:
            inputs: in the order of the program's inputs.

        Yields:
            Each node and its value, while the node's inputs are still in memory.
        """
        self.args_iter = iter([*self._state, *inputs])
        self.env = {}
        for node in self.graph.nodes:
            with torch.no_grad():
                value = self.run_node(node)
            self.env[node] = value
            yield node, value
            for read in self.user_to_last_uses.get(node, []):
                del self.env[read]

    def run_node(self, n: Node) -> Any:
        """Computes the value of a node from the values of its inputs."""
        if operation_of(n) is None or not _computes_in_fp16(n):
            return super().run_node(n)
        args, kwargs = tree_map_only(Tensor, _widened, self.fetch_args_kwargs_from_env(n))
        return tree_map_only(Tensor, Tensor.half, self.call_function(n.target, args, kwargs))


class ProgramModule(nn.Module):
    """A program as a module, run by `ProgramInterpreter`."""

    def __init__(self, program: ExportedProgram) -> None:
        super().__init__()
        self._interpreter = ProgramInterpreter(program)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Maps the program's inputs to its outputs, in their order."""
        ((_, outputs),) = deque(self._interpreter.steps(inputs), maxlen=1)
        return tuple(outputs)


def _computes_in_fp16(node: Node) -> bool:
    return any(value.dtype == torch.float16 for value in tree_leaves(node.meta["val"]))


def _widened(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype == torch.float16 else tensor
