"""Core ML packages: fixed shapes on the device, any number of prompts for the caller."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from samclip_sdk.bundle.files import GraphFile
from samclip_sdk.bundle.graph_spec import GraphSpec
from samclip_sdk.errors import BundleError, SamClipError
from samclip_sdk.runtimes.bucket_session import BucketSession
from samclip_sdk.runtimes.buckets import fixed_shape
from samclip_sdk.runtimes.coreml.loader import LoadTimes, Placement, load_on_mac
from samclip_sdk.runtimes.coreml.package import ProgramTensor, first_line
from samclip_sdk.runtimes.session import Arrays
from samclip_sdk.runtimes.tensor_checks import (
    HALF,
    FileTensor,
    check_tensors,
)
from samclip_sdk.system.progress import OnProgress, no_progress

_STANDS_FOR = {**HALF, "image": "uint8"}


class Program(Protocol):
    """One loaded package."""

    @property
    def inputs(self) -> tuple[ProgramTensor, ...]:
        """The inputs of `predict`."""

    @property
    def outputs(self) -> tuple[ProgramTensor, ...]:
        """The outputs of `predict`."""

    @property
    def load_times(self) -> LoadTimes:
        """The times of opening it."""

    def predict(self, feed: dict[str, Any]) -> Mapping[str, NDArray[np.generic]]:
        """Runs the program on inputs by name: arrays, and a PIL image for an image input."""

    def placement(self) -> tuple[Placement, ...]:
        """The device of each operation."""


class CoreMLSession(BucketSession):
    """A graph as one package, or as several that differ in the lengths of their symbolic axes.

    Each package is a bucket, see `Buckets`. Calls of several threads run one after another, because
    Core ML requires it for a model.

    Args:
        files: `path` is a package's Manifest.json, `axes` are the package's lengths.
        spec: the graph's contract; the packages must keep it, but may have fp16 in place of fp32
            and an image in place of uint8.
        compute_units: one of `options.COMPUTE_UNITS`.
        load: package folder, compute units -> program.
        on_progress: called before each package is opened, which is slow the first time.

    Attributes:
        load_times: the times of all packages together.

    Raises:
        RuntimeMissingError: coremltools is not installed, or this is not a Mac.
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
        lengths = [file.axes for file in files]
        super().__init__(spec, lengths=lengths, where="this Core ML bundle")
        self._programs = []
        for index, file in enumerate(files):
            on_progress(f"opening {file.path.parent.name} in Core ML", index, len(files))
            self._programs.append(_open(file, spec=spec, compute_units=compute_units, load=load))
        self.load_times = LoadTimes.total([each.load_times for each in self._programs])

    def placement(self) -> tuple[Placement, ...]:
        """The device of each operation of each package.

        Raises:
            RuntimeMissingError: this is not a Mac.
        """
        return tuple(each for program in self._programs for each in program.placement())

    def _free(self) -> None:
        self._programs = []

    def _call(self, number: int, feed: Arrays) -> Arrays:
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
    except Exception as error:  # exceptions of Core ML and coremltools have no common base class
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
    """Converts an array to the program's input: a PIL image for an image input."""
    if dtype == "image":
        return Image.fromarray(np.ascontiguousarray(array[0].transpose(1, 2, 0)))
    return np.ascontiguousarray(array, dtype=np.dtype(dtype))
