"""Core ML packages: fixed shapes on the device, any number of prompts to the caller."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from samclip_sdk.bundle.files import GraphFile
from samclip_sdk.bundle.graph_spec import GraphSpec, TensorSpec
from samclip_sdk.errors import BundleError, PromptError, SamClipError
from samclip_sdk.picture.prompts import FILLER
from samclip_sdk.runtimes.base import check_feed, check_outputs
from samclip_sdk.runtimes.coreml.loader import LoadTimes, Placement, load_on_mac
from samclip_sdk.runtimes.coreml.package import ProgramTensor, first_line
from samclip_sdk.runtimes.session import Arrays
from samclip_sdk.system.progress import OnProgress, no_progress

PADDING = {"point_labels": FILLER}
"""What an input is padded with; zero where it is not named. Filler makes every padded token one
that the model masks out, and a padded prompt one without a point."""


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


@dataclass(frozen=True)
class _Bucket:
    """A program and the lengths of the symbolic axes that it was made for."""

    program: Program
    axes: Mapping[str, int]


class CoreMLSession:
    """A graph as one package, or as several that differ in the lengths of their symbolic axes.

    The first axis of a graph's outputs, where it is symbolic, is cut into calls and padded; any
    other symbolic axis is padded only. The answer does not depend on either.

    Threads take turns, since Core ML wants a model used by one at a time.

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
        self._cut_axis = _cut_axis(spec)
        self._buckets = []
        for index, file in enumerate(files):
            on_progress(f"opening {file.path.parent.name} in Core ML", index, len(files))
            self._buckets.append(_open(file, spec=spec, compute_units=compute_units, load=load))
        self.load_times = LoadTimes.total([bucket.program.load_times for bucket in self._buckets])
        self._turn = threading.Lock()

    def run(self, feed: Arrays) -> dict[str, NDArray[np.generic]]:
        """Runs the graph; see `Session.run`.

        Raises:
            PromptError: an axis that is not cut is longer than in any package, more points in a
                prompt for instance.
        """
        axes = check_feed(feed, inputs=self.inputs)
        with self._turn:
            if not self._buckets:
                raise ValueError("the session is closed")
            results = self._run(feed, axes=axes)
        return check_outputs(results, specs=self.outputs, axes=axes)

    def placement(self) -> tuple[Placement, ...]:
        """Where each operation of each package runs.

        Raises:
            RuntimeMissingError: it is known on a Mac only.
        """
        return tuple(each for bucket in self._buckets for each in bucket.program.placement())

    def close(self) -> None:
        """Frees the programs."""
        with self._turn:
            self._buckets = []

    def _run(self, feed: Arrays, *, axes: Mapping[str, int]) -> dict[str, NDArray[np.generic]]:
        """Runs the graph in as many calls as it takes."""
        buckets = self._fitting(axes)
        if self._cut_axis is None:
            return self._call(buckets[0], feed, axes=axes)
        parts: list[dict[str, NDArray[np.generic]]] = []
        start, count = 0, axes[self._cut_axis]
        while start < count or not parts:
            bucket, rows = self._next(buckets, left=count - start)
            parts.append(
                self._call(
                    bucket,
                    self._rows(feed, start=start, rows=rows),
                    axes={**axes, self._cut_axis: rows},
                )
            )
            start += rows
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _fitting(self, axes: Mapping[str, int]) -> list[_Bucket]:
        """The buckets whose uncut axes are long enough, the smallest first."""
        for axis, length in axes.items():
            longest = max(bucket.axes[axis] for bucket in self._buckets)
            if axis != self._cut_axis and length > longest:
                raise PromptError(
                    f"{axis} is {length}, and these Core ML packages take at most {longest}; "
                    "give fewer"
                )
        fitting = [
            bucket
            for bucket in self._buckets
            if all(
                bucket.axes[axis] >= length
                for axis, length in axes.items()
                if axis != self._cut_axis
            )
        ]
        return sorted(fitting, key=lambda bucket: sorted(bucket.axes.items()))

    def _next(self, buckets: Sequence[_Bucket], *, left: int) -> tuple[_Bucket, int]:
        """The smallest bucket that holds all that is left, or else the largest, and its rows."""
        assert self._cut_axis is not None
        for bucket in buckets:
            if bucket.axes[self._cut_axis] >= left:
                return bucket, left
        return buckets[-1], buckets[-1].axes[self._cut_axis]

    def _rows(self, feed: Arrays, *, start: int, rows: int) -> dict[str, NDArray[np.generic]]:
        """The part of a feed that one call sees."""
        return {
            spec.name: feed[spec.name][start : start + rows]
            if spec.shape[0] == self._cut_axis
            else feed[spec.name]
            for spec in self.inputs
        }

    def _call(
        self, bucket: _Bucket, feed: Arrays, *, axes: Mapping[str, int]
    ) -> dict[str, NDArray[np.generic]]:
        """Pads a feed to the bucket's lengths, runs it, and trims the outputs again."""
        dtypes = {tensor.name: tensor.dtype for tensor in bucket.program.inputs}
        own = {
            spec.name: _native(
                _pad(feed[spec.name], spec=spec, axes=bucket.axes), dtype=dtypes[spec.name]
            )
            for spec in self.inputs
        }
        found = bucket.program.predict(own)
        return {
            spec.name: np.asarray(found[spec.name])[_extent(spec, axes=axes)]
            for spec in self.outputs
        }


def _open(
    file: GraphFile,
    *,
    spec: GraphSpec,
    compute_units: str,
    load: Callable[[Path, str], Program],
) -> _Bucket:
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
        _check_tensors(found, specs=specs, axes=file.axes, package=package)
    return _Bucket(program, axes=file.axes)


def _check_tensors(
    found: Sequence[ProgramTensor],
    *,
    specs: Sequence[TensorSpec],
    axes: Mapping[str, int],
    package: Path,
) -> None:
    by_name = {tensor.name: tensor for tensor in found}
    if set(by_name) != {spec.name for spec in specs}:
        raise BundleError(
            f"{package.name} has the tensors {sorted(by_name)}, the manifest says "
            f"{sorted(spec.name for spec in specs)}"
        )
    for spec in specs:
        tensor = by_name[spec.name]
        wanted = _lengths(spec, axes=axes)
        stands_for = {"float16": "float32", "image": "uint8"}.get(tensor.dtype, tensor.dtype)
        if stands_for != spec.dtype or list(tensor.shape) != wanted:
            raise BundleError(
                f"{package.name}: {spec.name} is {tensor.dtype}{list(tensor.shape)}, the manifest "
                f"says {spec.dtype}{wanted}"
            )


def _cut_axis(spec: GraphSpec) -> str | None:
    first = spec.outputs[0].shape[0]
    return first if isinstance(first, str) else None


def _lengths(spec: TensorSpec, *, axes: Mapping[str, int]) -> list[int]:
    return [axes[axis] if isinstance(axis, str) else axis for axis in spec.shape]


def _extent(spec: TensorSpec, *, axes: Mapping[str, int]) -> tuple[slice, ...]:
    return tuple(slice(length) for length in _lengths(spec, axes=axes))


def _pad(
    array: NDArray[np.generic], *, spec: TensorSpec, axes: Mapping[str, int]
) -> NDArray[np.generic]:
    """Fills a tensor up to the lengths that a bucket has."""
    lengths = _lengths(spec, axes=axes)
    if list(array.shape) == lengths:
        return array
    padded = np.full(lengths, PADDING.get(spec.name, 0), dtype=array.dtype)
    padded[tuple(slice(length) for length in array.shape)] = array
    return padded


def _native(array: NDArray[np.generic], *, dtype: str) -> Any:
    """An array as the program takes it: a picture where it takes one."""
    if dtype == "image":
        return Image.fromarray(np.ascontiguousarray(array[0].transpose(1, 2, 0)))
    return np.ascontiguousarray(array, dtype=np.dtype(dtype))
