"""ExecuTorch programs: fixed shapes in the file, any number of prompts for the caller."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from samclip_sdk.bundle.files import GraphFile
from samclip_sdk.bundle.graph_spec import GraphSpec
from samclip_sdk.errors import BundleError, one_line
from samclip_sdk.runtimes.bucket_session import BucketSession
from samclip_sdk.runtimes.buckets import Lengths
from samclip_sdk.runtimes.executorch.program import Program
from samclip_sdk.runtimes.session import Arrays, run_failure
from samclip_sdk.runtimes.tensor_checks import check_bucket
from samclip_sdk.system.packages import import_runtime


@dataclass(frozen=True)
class _Method:
    """A method of a program: a bucket of the graph.

    Attributes:
        run: takes tensors and returns tensors, in the program's own order.
        lengths: the length of each symbolic axis.
    """

    run: Callable[[Sequence[Any]], Sequence[Any]]
    lengths: Lengths


class ExecuTorchSession(BucketSession):
    """A .pte file with a method for each set of lengths of its graph's symbolic axes.

    Each method is a bucket, see `Buckets`; all of them share the file's weights, and the memory
    that they compute in. So calls of several threads run one after another.

    Args:
        file: the file.
        spec: the graph's contract, which every method must keep.

    Raises:
        RuntimeMissingError: ExecuTorch is not installed.
        BundleError: the file cannot be loaded, or a method has other inputs or outputs.
    """

    def __init__(self, file: GraphFile, *, spec: GraphSpec) -> None:
        self._tensor = import_runtime("torch", extra="executorch").tensor
        self._program: Program | None = Program(file.path)
        self._methods = _open(self._program, spec=spec, where=file.path.name)
        lengths = [each.lengths for each in self._methods]
        super().__init__(spec, lengths=lengths, where="this ExecuTorch file")

    def _free(self) -> None:
        self._methods = []
        self._program = None

    def _call(self, number: int, feed: Arrays) -> Arrays:
        assert self._program is not None
        # Copies. In another layout ExecuTorch would take the numbers for others.
        given = [self._tensor(np.ascontiguousarray(feed[name])) for name in self._program.inputs]
        try:
            found = self._methods[number].run(given)
        except RuntimeError as error:  # of the file: the feed has been checked
            raise run_failure("the ExecuTorch file", error) from error
        return {
            name: tensor.numpy() for name, tensor in zip(self._program.outputs, found, strict=True)
        }


def _open(program: Program, *, spec: GraphSpec, where: str) -> list[_Method]:
    """Loads every method of a program and checks it against the contract."""
    if not program.methods:
        raise BundleError(f"{where} has no method: it was made by another exporter")
    methods = []
    for name in program.methods:
        try:
            inputs, outputs = program.tensors(name)
            run = program.load(name)
        except Exception as error:  # ExecuTorch's exceptions have no common base class
            raise BundleError(f"ExecuTorch cannot load {where}: {one_line(error)}") from error
        lengths = check_bucket(inputs, outputs, spec=spec, where=where)
        methods.append(_Method(run, lengths=lengths))
    return methods
