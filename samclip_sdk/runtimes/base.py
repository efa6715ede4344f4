"""What a session is, and the checks that every runtime shares."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from samclip_sdk.errors import BundleError, RuntimeMissingError
from samclip_sdk.graph_spec import TensorSpec

Arrays: TypeAlias = "Mapping[str, NDArray[np.generic]]"


@dataclass(frozen=True)
class GraphFile:
    """An artifact of a graph on the disk, verified.

    Attributes:
        path: what the runtime is pointed at; of a Core ML package its Manifest.json.
        sha256: of that file.
        weights_sha256: of the further files that it refers to, in the manifest's order.
        precision: "fp32", "fp16", "int8" or "palette6"; "bf16" if an fp32 file is to run so.
        axes: symbolic axis -> its one length in this file; empty where it takes any.
        proven: whether it was compared with eager torch on the runtime that it is for.
    """

    path: Path
    sha256: str = ""
    weights_sha256: tuple[str, ...] = ()
    precision: str = "fp32"
    axes: Mapping[str, int] = field(default_factory=dict)
    proven: bool = True


def tell_nobody(phase: str, step: int, steps: int) -> None:
    """Shows no progress."""


@dataclass(frozen=True)
class RuntimeOptions:
    """What a caller may ask of a runtime.

    Attributes:
        providers: onnxruntime's execution providers, the preferred one first; the CPU if empty.
        compute_units: Core ML's: "all", "cpu_only", "cpu_and_gpu" or "cpu_and_ne".
        threads: onnxruntime's and OpenVINO's for a graph; their own choice if 0.
        keep_compiled: whether OpenVINO keeps on the disk what it made of a graph, for the next
            load.
        on_progress: told a phase of the build of a TensorRT engine, how many of its steps are done,
            and how many it has.

    Raises:
        ValueError: a negative number of threads.
    """

    providers: tuple[str, ...] = ()
    compute_units: str = "all"
    threads: int = 0
    keep_compiled: bool = True
    on_progress: Callable[[str, int, int], None] = tell_nobody

    def __post_init__(self) -> None:
        if self.threads < 0:
            raise ValueError(f"threads is {self.threads}; it must be at least 0, the runtime's own")


DEFAULT_OPTIONS = RuntimeOptions()


class Session(Protocol):
    """One graph, ready to run. A session never preprocesses, downloads or compiles."""

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """What `run` must be fed with."""

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """What `run` returns."""

    def run(self, feed: Arrays) -> dict[str, NDArray[np.generic]]:
        """Runs the graph.

        Args:
            feed: exactly the inputs, by name, in the contract's dtypes and shapes.

        Returns:
            The outputs by name, in the contract's dtypes and shapes.

        Raises:
            ValueError: the feed is not what `inputs` says, or the session is closed.
        """

    def close(self) -> None:
        """Frees what the session holds; it may be called again."""


def import_runtime(module: str, *, extra: str) -> Any:
    """Imports an optional package.

    Args:
        module: its name.
        extra: of samclip-sdk, which installs it.

    Raises:
        RuntimeMissingError: it is not installed; the message holds the pip command.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise RuntimeMissingError(
            f'{module} cannot be imported ({error}): pip install "samclip-sdk[{extra}]"'
        ) from error


def check_feed(feed: Arrays, *, inputs: Sequence[TensorSpec]) -> dict[str, int]:
    """Checks a feed against a graph's inputs.

    Returns:
        The length of each symbolic axis.

    Raises:
        ValueError: a name, dtype or shape differs.
    """
    names = [spec.name for spec in inputs]
    if set(feed) != set(names):
        raise ValueError(f"the feed has {sorted(feed)}, the graph takes {sorted(names)}")
    axes: dict[str, int] = {}
    for spec in inputs:
        problem = _mismatch(feed[spec.name], spec, axes=axes)
        if problem:
            raise ValueError(problem)
    return axes


def check_outputs(
    outputs: Arrays, *, specs: Sequence[TensorSpec], axes: Mapping[str, int]
) -> dict[str, NDArray[np.generic]]:
    """Casts what a runtime returned to the contract's dtypes and checks its shapes.

    Args:
        outputs: by name.
        specs: what they must be.
        axes: the length of each symbolic axis, from the feed.

    Raises:
        BundleError: an output has another shape: the artifact is not what the manifest says.
    """
    known = dict(axes)
    checked: dict[str, NDArray[np.generic]] = {}
    for spec in specs:
        array = np.ascontiguousarray(outputs[spec.name], dtype=np.dtype(spec.dtype))
        problem = _mismatch(array, spec, axes=known)
        if problem:
            raise BundleError(f"the artifact broke its contract: {problem}")
        checked[spec.name] = array
    return checked


def _mismatch(array: NDArray[np.generic], spec: TensorSpec, *, axes: dict[str, int]) -> str:
    """What is wrong with an array, or nothing; learns the symbolic axes met first."""
    shape = array.shape
    expected = [
        axes.setdefault(axis, length) if isinstance(axis, str) else axis
        for axis, length in zip(spec.shape, shape, strict=False)
    ]
    if array.dtype != np.dtype(spec.dtype):
        return f"{spec.name} has dtype {array.dtype}, expected {spec.dtype}"
    if len(shape) != len(spec.shape) or list(shape) != expected:
        wanted = [axes.get(axis, axis) if isinstance(axis, str) else axis for axis in spec.shape]
        return f"{spec.name} has shape {list(shape)}, expected {wanted}"
    return ""
