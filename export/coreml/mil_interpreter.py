"""Runs a saved Core ML package in torch, operation by operation: a check that needs no Mac.

The package is read from the disk with its weights. Each operation is computed in fp32 from its
stored inputs, and the result is rounded to the type that the program declares for the output. An
fp16 kernel with fp32 accumulation does the same, on a GPU for instance. An overflow of a tensor is
detected, but not one inside an operation, such as the sum of squares of a LayerNorm. The check
shows what the program computes, not how the Neural Engine rounds inside an operation.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from export.coreml.mil_operations import OPERATIONS, Result
from export.coreml.mil_types import DTYPES, UnknownOperationError
from samclip_sdk.errors import BundleError, RuntimeMissingError
from samclip_sdk.runtimes.coreml.loader import LoadTimes, Placement
from samclip_sdk.runtimes.coreml.package import (
    ProgramTensor,
    first_line,
    import_coremltools,
    read_tensors,
)

_Value: TypeAlias = "Tensor | str"


@dataclass(frozen=True)
class _Output:
    """The slot of an operation's result, and its declared type and shape."""

    slot: int
    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]


@dataclass(frozen=True)
class _Step:
    """An operation; an argument is the slot of a value, or the slots of several."""

    kind: str
    function: Callable[..., Result]
    arguments: dict[str, int | list[int]]
    outputs: tuple[_Output, ...]
    dead: list[int] = field(default_factory=list)
    """The slots that no later step reads."""

    def reads(self) -> set[int]:
        slots: set[int] = set()
        for argument in self.arguments.values():
            slots |= set(argument) if isinstance(argument, list) else {argument}
        return slots


class MilInterpreter:
    """An ML program with fixed shapes; implements `Program` of `CoreMLSession`.

    Args:
        package: the folder of a saved .mlpackage.

    Attributes:
        inputs: the inputs of `predict`.
        outputs: the outputs of `predict`.
        load_times: the time of reading it; nothing is compiled.

    Raises:
        BundleError: the package is missing, truncated or damaged.
        UnknownOperationError: the interpreter does not know an operation, a parameter or a type.
    """

    def __init__(self, package: Path) -> None:
        started = time.perf_counter()
        self.inputs, self.outputs = read_tensors(package)
        function = _read_function(package)
        self._slots: dict[Any, int] = {}
        self._constants: dict[int, _Value] = {}
        self._fed = {name: self._slot(var) for name, var in function.inputs.items()}
        self._results = {var.name: self._slot(var) for var in function.outputs}
        steps = []
        for operation in function.operations:
            if operation.op_type == "const":
                (var,) = operation.outputs
                self._constants[self._slot(var)] = _constant(var)
            elif operation.op_type.startswith("constexpr_"):
                # Weights are unpacked once, as Core ML does when it loads them.
                self._constants |= _run(self._step(operation), self._constants)
            else:
                steps.append(self._step(operation))
        self._steps = _with_lifetimes(steps, kept={*self._results.values(), *self._constants})
        self.load_times = LoadTimes(
            cold=True, load_ms=(time.perf_counter() - started) * 1e3, prewarm_ms=0.0
        )

    @classmethod
    def load(cls, package: Path, compute_units: str) -> MilInterpreter:
        """Opens a package as the `load` of `CoreMLSession`; the compute units have no effect."""
        return cls(package)

    def predict(self, feed: dict[str, Any]) -> Mapping[str, NDArray[np.generic]]:
        """Runs the program.

        Raises:
            ValueError: the feed does not match `inputs`.
            UnknownOperationError: the interpreter does not know a parameter's value.
        """
        if set(feed) != set(self._fed):
            raise ValueError(f"the feed has {sorted(feed)}, the program takes {sorted(self._fed)}")
        values = dict(self._constants)
        for tensor in self.inputs:
            values[self._fed[tensor.name]] = _fed(feed[tensor.name], tensor=tensor)
        with torch.inference_mode():
            for step in self._steps:
                values |= _run(step, values)
                for slot in step.dead:
                    del values[slot]
        return {name: _tensor(values[slot]).numpy() for name, slot in self._results.items()}

    def placement(self) -> tuple[Placement, ...]:
        """Always fails, because only Core ML knows where operations run.

        Raises:
            RuntimeMissingError: always.
        """
        raise RuntimeMissingError("where Core ML places operations is known on a Mac only")

    def _slot(self, var: Any) -> int:
        return self._slots.setdefault(var, len(self._slots))

    def _step(self, operation: Any) -> _Step:
        kind = operation.op_type
        function = OPERATIONS.get(kind)
        if function is None:
            raise UnknownOperationError(f"the interpreter does not know the operation {kind}")
        arguments: dict[str, int | list[int]] = {
            name: [self._slot(each) for each in var]
            if isinstance(var, (list, tuple))
            else self._slot(var)
            for name, var in operation.inputs.items()
            if var is not None
        }
        _check_parameters(kind, function=function, given=set(arguments))
        outputs = tuple(
            _Output(self._slot(var), name=var.name, dtype=_dtype(var), shape=tuple(var.shape))
            for var in operation.outputs
        )
        return _Step(kind, function=function, arguments=arguments, outputs=outputs)


def _read_function(package: Path) -> Any:
    """Reads the program's only function as coremltools' own objects."""
    coremltools = import_coremltools()
    from coremltools.converters.mil.frontend.milproto.load import load

    try:
        model = coremltools.models.MLModel(str(package), skip_model_load=True)
        spec = model.get_spec()
        program = load(
            spec,
            specification_version=spec.specificationVersion,
            file_weights_dir=model.weights_dir,
        )
        return program.functions["main"]
    except Exception as error:  # errors of protobuf, the blob reader or coremltools
        raise BundleError(f"{package} cannot be read: {first_line(error)}") from error


def _check_parameters(kind: str, *, function: Callable[..., Result], given: set[str]) -> None:
    known = inspect.signature(function).parameters
    needed = {name for name, each in known.items() if each.default is inspect.Parameter.empty}
    for problem, names in (("has the unknown", given - set(known)), ("lacks", needed - given)):
        if names:
            raise UnknownOperationError(f"{kind} {problem} parameter {', '.join(sorted(names))}")


def _with_lifetimes(steps: list[_Step], *, kept: set[int]) -> list[_Step]:
    """Adds to each step the values that it is the last to read."""
    seen = set(kept)
    for step in reversed(steps):
        slots = step.reads() | {output.slot for output in step.outputs}
        step.dead.extend(slots - seen)
        seen |= slots
    return steps


def _run(step: _Step, values: Mapping[int, _Value]) -> dict[int, _Value]:
    arguments = {
        name: [_widened(values[slot]) for slot in argument]
        if isinstance(argument, list)
        else _widened(values[argument])
        for name, argument in step.arguments.items()
    }
    results = step.function(**arguments)
    tensors = results if isinstance(results, tuple) else (results,)
    return {
        output.slot: _conform(tensor, output=output, kind=step.kind)
        for tensor, output in zip(tensors, step.outputs, strict=True)
    }


def _widened(value: _Value) -> _Value:
    if isinstance(value, Tensor) and value.dtype == torch.float16:
        return value.float()
    return value


def _conform(tensor: Tensor, *, output: _Output, kind: str) -> Tensor:
    """Rounds a result to the declared type, and checks the declared shape."""
    same_kind = tensor.is_floating_point() == output.dtype.is_floating_point and (
        tensor.dtype == torch.bool
    ) == (output.dtype == torch.bool)
    if not same_kind or tuple(tensor.shape) != output.shape:
        raise UnknownOperationError(
            f"{kind} gives {tensor.dtype}{list(tensor.shape)} for {output.name}, the program "
            f"declares {output.dtype}{list(output.shape)}"
        )
    return tensor.to(output.dtype)


def _constant(var: Any) -> _Value:
    if isinstance(var.val, str):
        return var.val
    # A copy: coremltools' arrays may be read-only views of the weight file.
    return torch.tensor(np.array(var.val), dtype=_dtype(var))


def _dtype(var: Any) -> torch.dtype:
    from coremltools.converters.mil.mil import types

    name = types.builtin_to_string(var.dtype)
    if name not in DTYPES:
        raise UnknownOperationError(f"the interpreter does not know the type {name} of {var.name}")
    return DTYPES[name]


def _fed(value: Any, *, tensor: ProgramTensor) -> Tensor:
    """Converts an input for the program; an image becomes floats [1,3,height,width]."""
    if tensor.dtype == "image":
        if not isinstance(value, Image.Image) or value.mode != "RGB":
            raise ValueError(f"{tensor.name} must be an RGB image")
        array = np.asarray(value, dtype=np.float32).transpose(2, 0, 1)[None]
    else:
        array = np.asarray(value)
        if array.dtype != np.dtype(tensor.dtype):
            raise ValueError(f"{tensor.name} is {array.dtype}, the program takes {tensor.dtype}")
    if array.shape != tensor.shape:
        raise ValueError(
            f"{tensor.name} has shape {list(array.shape)}, the program takes {list(tensor.shape)}"
        )
    return torch.from_numpy(np.array(array))


def _tensor(value: _Value) -> Tensor:
    assert isinstance(value, Tensor)
    return value
