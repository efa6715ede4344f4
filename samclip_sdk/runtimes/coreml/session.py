"""Core ML packages: fixed shapes on the device, any number of prompts to the caller."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from samclip_sdk.bundle.files import GraphFile
from samclip_sdk.bundle.graph_spec import GraphSpec
from samclip_sdk.errors import BundleError, SamClipError
from samclip_sdk.runtimes.buckets import Buckets, fixed_shape
from samclip_sdk.runtimes.coreml.loader import LoadTimes, Placement, load_on_mac
from samclip_sdk.runtimes.coreml.package import ProgramTensor, first_line
from samclip_sdk.runtimes.session import Arrays
from samclip_sdk.runtimes.tensor_checks import (
    HALF,
    FileTensor,
    check_feed,
    check_outputs,
    check_tensors,
)
from samclip_sdk.system.progress import OnProgress, no_progress

_STANDS_FOR = {**HALF, "image": "uint8"}


class Program(Protocol):
    """One package, loaded."""

    @property
    def inputs(self) -> tuple[ProgramTensor, ...]:
        """What `predict` takes."""

    @property
    def outputs(self) -> tuple[ProgramTensor, ...]:
        """What `predict` returns."""

    @property
    def load_times(self) -> LoadTimes:
        """How long opening it took."""

    def predict(self, feed: dict[str, Any]) -> Mapping[str, NDArray[np.generic]]:
        """Runs the program on arrays, and a PIL image where it takes a picture, by name."""

    def placement(self) -> tuple[Placement, ...]:
        """Where each operation runs."""


class CoreMLSession:
    """A graph as one package, or as several that differ in the lengths of their symbolic axes.

    Each package is a bucket, see `Buckets`. Threads take turns, since Core ML wants a model used by
    one at a time.

    Args:
        files: `path` is a package's Manifest.json, `axes` the lengths that the package has.
        spec: the graph's contract; fp16 for fp32, and a picture for uint8 aside, the packages
            must keep it.
        compute_units: one of `options.COMPUTE_UNITS`.
        load: package folder, compute units -> program.
        on_progress: told of each package before it is opened, which is slow at the first time.

    Attributes:
        load_times: of all packages together.

    Raises:
        RuntimeMissingError: coremltools is not installed, or this is no Mac.
        BundleError: a package cannot be loaded or breaks the contract.
        StorageError: the cache of compiled models cannot be written.
    """

    def __init__(
        self,
        files: Sequence[GraphFile],
        *,
        spec: GraphSpec,
        compute_units: str = "all",
        load: Callable[[Path, str], Program] = load_on_mac,
        on_progress: OnProgress = no_progress,
    ) -> None:
        self.inputs, self.outputs = spec.inputs, spec.outputs
        self._buckets = Buckets(
            spec, lengths=[file.axes for file in files], where="this Core ML bundle"
        )
        self._programs = []
        for index, file in enumerate(files):
            on_progress(f"opening {file.path.parent.name} in Core ML", index, len(files))
            self._programs.append(_open(file, spec=spec, compute_units=compute_units, load=load))
        self.load_times = LoadTimes.total([each.load_times for each in self._programs])
        self._turn = threading.Lock()

    def run(self, feed: Arrays) -> dict[str, NDArray[np.generic]]:
        """Runs the graph; see `Session.run`.

        Raises:
            PromptError: an axis that is not cut is longer than in any package, more points in a
                prompt for instance.
        """
        axes = check_feed(feed, inputs=self.inputs)
        with self._turn:
            if not self._programs:
                raise ValueError("the session is closed")
            results = self._buckets.run(feed, axes=axes, call=self._predict)
        return check_outputs(results, specs=self.outputs, axes=axes)

    def placement(self) -> tuple[Placement, ...]:
        """Where each operation of each package runs.

        Raises:
            RuntimeMissingError: it is known on a Mac only.
        """
        return tuple(each for program in self._programs for each in program.placement())

    def close(self) -> None:
        """Frees the programs."""
        with self._turn:
            self._programs = []

    def _predict(self, number: int, feed: Arrays) -> Arrays:
        program = self._programs[number]
        return program.predict(
            {
                tensor.name: _native(feed[tensor.name], dtype=tensor.dtype)
                for tensor in program.inputs
            }
        )


def _open(
    file: GraphFile,
    *,
    spec: GraphSpec,
    compute_units: str,
    load: Callable[[Path, str], Program],
) -> Program:
    package = file.path.parent
    symbolic = {axis for tensor in spec.inputs for axis in tensor.shape if isinstance(axis, str)}
    if set(file.axes) != symbolic:
        raise BundleError(
            f"{package.name} has fixed lengths of {sorted(file.axes)}, its graph has the axes "
            f"{sorted(symbolic)}"
        )
    try:
        program = load(package, compute_units)
    except SamClipError:
        raise
    except Exception as error:  # Core ML's and coremltools' share no base class of their own
        raise BundleError(f"Core ML cannot load {package}: {first_line(error)}") from error
    for found, specs in ((program.inputs, spec.inputs), (program.outputs, spec.outputs)):
        check_tensors(
            (FileTensor(each.name, each.dtype, each.shape) for each in found),
            specs=[
                each.model_copy(update={"shape": fixed_shape(each, file.axes)}) for each in specs
            ],
            where=package.name,
            stands_for=_STANDS_FOR,
        )
    return program


def _native(array: NDArray[np.generic], *, dtype: str) -> Any:
    """An array as the program takes it: a picture where it takes one."""
    if dtype == "image":
        return Image.fromarray(np.ascontiguousarray(array[0].transpose(1, 2, 0)))
    return np.ascontiguousarray(array, dtype=np.dtype(dtype))
