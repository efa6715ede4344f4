"""Core ML on a Mac: compiles a package once, loads it, and reports where its operations run."""

from __future__ import annotations

import hashlib
import platform
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from samclip_sdk.bundle.files import file_sha256
from samclip_sdk.errors import BundleError, RuntimeMissingError
from samclip_sdk.runtimes.coreml.package import (
    ProgramTensor,
    first_line,
    import_coremltools,
    read_tensors,
)
from samclip_sdk.runtimes.table import RUNTIMES
from samclip_sdk.system.atomic_folder import scratch_folder, settle
from samclip_sdk.system.user_folders import user_cache


@dataclass(frozen=True)
class LoadTimes:
    """The times of opening a package.

    Attributes:
        cold: whether a package had to be compiled. Core ML has another cache for each kind of
            processor, which cannot be inspected. So the first load after an update of the system is
            slow even if `cold` is False.
        load_ms: the time of compiling, if it was needed, and loading.
        prewarm_ms: the time of the first prediction, in which Core ML may still prepare processors.
    """

    cold: bool
    load_ms: float
    prewarm_ms: float

    @classmethod
    def total(cls, times: Sequence[LoadTimes]) -> LoadTimes:
        """The sum of the times of several packages; cold if one of them was cold."""
        return cls(
            cold=any(each.cold for each in times),
            load_ms=sum(each.load_ms for each in times),
            prewarm_ms=sum(each.prewarm_ms for each in times),
        )


@dataclass(frozen=True)
class Placement:
    """The device on which Core ML plans to run an operation.

    Attributes:
        package: the folder's name.
        operation: the name of its first output.
        kind: "linear" for instance.
        device: "CPU", "GPU" or "NeuralEngine".
    """

    package: str
    operation: str
    kind: str
    device: str


class MacProgram:
    """A compiled package in Core ML; implements `Program`.

    Args:
        package: the package's folder.
        compiled: the compiled model's folder.
        cold: whether it was compiled just now.
        units: coremltools' ComputeUnit.
        started: `time.perf_counter()` when opening began.

    Attributes:
        inputs: the inputs of `predict`.
        outputs: the outputs of `predict`.
        load_times: the times of opening, with a first prediction.
    """

    def __init__(
        self, package: Path, *, compiled: Path, cold: bool, units: Any, started: float
    ) -> None:
        coremltools = import_coremltools()
        self.inputs, self.outputs = read_tensors(package)
        self._package, self._compiled, self._units = package, compiled, units
        self._model = coremltools.models.CompiledMLModel(str(compiled), compute_units=units)
        loaded = time.perf_counter()
        self.predict({tensor.name: _zeros(tensor) for tensor in self.inputs})
        self.load_times = LoadTimes(
            cold=cold,
            load_ms=(loaded - started) * 1e3,
            prewarm_ms=(time.perf_counter() - loaded) * 1e3,
        )

    def predict(self, feed: dict[str, Any]) -> Mapping[str, NDArray[np.generic]]:
        """Runs the program."""
        answer: Mapping[str, NDArray[np.generic]] = self._model.predict(feed)
        return answer

    def placement(self) -> tuple[Placement, ...]:
        """Reads Core ML's compute plan; constants have no placement."""
        plan = import_coremltools().models.compute_plan.MLComputePlan.load_from_path(
            str(self._compiled), compute_units=self._units
        )
        operations = plan.model_structure.program.functions["main"].block.operations
        asked = [
            (each, plan.get_compute_device_usage_for_mlprogram_operation(each))
            for each in operations
        ]
        return tuple(
            Placement(
                package=self._package.name,
                operation=operation.outputs[0].name,
                kind=operation.operator_name,
                device=_device(usage.preferred_compute_device),
            )
            for operation, usage in asked
            if usage is not None
        )


def load_on_mac(package: Path, compute_units: str) -> MacProgram:
    """Compiles a package if the cache does not have it, loads it and runs it once.

    Args:
        package: the package's folder.
        compute_units: one of `options.COMPUTE_UNITS`.

    Raises:
        RuntimeMissingError: this is not a Mac, or coremltools is not installed.
        BundleError: the package is damaged.
        StorageError: the cache cannot be written.
    """
    known = RUNTIMES["coreml"]
    if platform.system() != known.system:
        raise RuntimeMissingError(known.elsewhere)
    started = time.perf_counter()
    coremltools = import_coremltools()
    units = getattr(coremltools.ComputeUnit, compute_units.upper())
    read_tensors(package)  # a damaged package gives a clear error before it is compiled
    compiled, cold = compiled_model(package, coremltools=coremltools)
    try:
        return MacProgram(package, compiled=compiled, cold=cold, units=units, started=started)
    except RuntimeError:
        if cold:
            raise
        # The cached copy may be damaged; a fresh one shows whether the package itself is.
        shutil.rmtree(compiled, ignore_errors=True)
        compiled, cold = compiled_model(package, coremltools=coremltools)
        return MacProgram(package, compiled=compiled, cold=cold, units=units, started=started)


def cache_folder() -> Path:
    """The folder of compiled models."""
    return user_cache("coreml")


def compiled_model(package: Path, *, coremltools: Any) -> tuple[Path, bool]:
    """Finds the compiled model of a package in the cache, or compiles it into the cache.

    Two processes may do this at the same time: each compiles into its own folder, and the first
    rename wins.

    Returns:
        The compiled model's folder, and whether it was compiled just now.

    Raises:
        BundleError: the package cannot be compiled.
        StorageError: the cache cannot be written.
    """
    target = cache_folder() / f"{_key(package, coremltools=coremltools)}.mlmodelc"
    if target.is_dir():
        return target, False
    with scratch_folder(target) as scratch:
        fresh = scratch / target.name  # compile_model requires this suffix
        try:
            coremltools.models.utils.compile_model(str(package), str(fresh))
        except OSError:
            raise  # it cannot be written
        except Exception as error:  # Core ML raises RuntimeError, coremltools plain Exception
            raise BundleError(f"Core ML cannot compile {package}: {first_line(error)}") from error
        settle(fresh, target)
    return target, True


def _key(package: Path, *, coremltools: Any) -> str:
    """A key that changes with every byte of the package and the versions of the compiler."""
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*")):
        if path.is_file():
            digest.update(f"{path.relative_to(package)} {file_sha256(path)}\n".encode())
    digest.update(f"{coremltools.__version__} {platform.mac_ver()[0]}".encode())
    return digest.hexdigest()[:32]


def _zeros(tensor: ProgramTensor) -> Any:
    if tensor.dtype == "image":
        return Image.new("RGB", (tensor.shape[3], tensor.shape[2]))
    return np.zeros(tensor.shape, dtype=np.dtype(tensor.dtype))


def _device(device: Any) -> str:
    """The kind of a coremltools compute device: "CPU" for the class MLCPUComputeDevice."""
    return type(device).__name__.removeprefix("ML").removesuffix("ComputeDevice")
