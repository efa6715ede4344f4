"""Opens a graph on the requested runtime; no other runtime is imported."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from samclip_sdk.bundle.files import GraphFile
from samclip_sdk.bundle.graph_spec import GraphSpec
from samclip_sdk.errors import RuntimeMissingError
from samclip_sdk.runtimes.availability import RuntimeState, check_runtime
from samclip_sdk.runtimes.options import DEFAULT_OPTIONS, RuntimeOptions, check_options
from samclip_sdk.runtimes.session import Session
from samclip_sdk.runtimes.table import OF_BUNDLES
from samclip_sdk.system.packages import import_runtime


class RuntimeModule(Protocol):
    """The interface of the module `runtime` in a runtime's folder. Its import loads no runtime."""

    def check(self, *, precision: str | None, options: RuntimeOptions) -> None:
        """Refuses a precision or options that no graph can be opened with: `check_openable`."""

    def open_files(
        self, files: Sequence[GraphFile], *, spec: GraphSpec, options: RuntimeOptions
    ) -> Session:
        """Opens a graph; see `open_session`."""

    def states(self) -> Sequence[RuntimeState]:
        """Tries to load the runtime, or each of its providers, and returns the results."""


def runtime_module(runtime: str) -> RuntimeModule:
    """The module of a runtime of bundles, by the runtime's name.

    Raises:
        RuntimeMissingError: this version has no such runtime.
    """
    match runtime:
        case "onnx":
            from samclip_sdk.runtimes.onnx import runtime as onnx

            return onnx
        case "openvino":
            from samclip_sdk.runtimes.openvino import runtime as openvino

            return openvino
        case "coreml":
            from samclip_sdk.runtimes.coreml import runtime as coreml

            return coreml
        case "tensorrt":
            from samclip_sdk.runtimes.tensorrt import runtime as tensorrt

            return tensorrt
        case "litert":
            from samclip_sdk.runtimes.litert import runtime as litert

            return litert
        case "executorch":
            from samclip_sdk.runtimes.executorch import runtime as executorch

            return executorch
        case _:
            raise RuntimeMissingError(
                f'this version of samclip-sdk does not run bundles on {runtime!r}; use "onnx": '
                'pip install "samclip-sdk[onnx]"'
            )


def check_openable(runtime: str, *, precision: str | None, options: RuntimeOptions) -> None:
    """Refuses a runtime, precision or options with which no graph of a bundle can be opened here.

    Without this check the error would come at the first inference. With default options it imports
    nothing.

    Args:
        runtime: one of `OF_BUNDLES`.
        precision: the precision for the bundle; the first that it lists if None.
        options: the runtime's options.

    Raises:
        OptionError: the runtime does not take one of the options.
        RuntimeMissingError: the runtime, its device or one of its execution providers is missing.
        BundleError: the runtime has no such precision.
    """
    check_runtime(runtime)
    check_options(runtime, options=options)
    runtime_module(runtime).check(precision=precision, options=options)


def open_session(
    runtime: str,
    *,
    files: Sequence[GraphFile],
    spec: GraphSpec,
    options: RuntimeOptions = DEFAULT_OPTIONS,
) -> Session:
    """Opens one graph of a bundle; for a checkpoint's graphs see `runtimes.torch`.

    Args:
        runtime: one of `OF_BUNDLES`. A TensorRT engine is built if the cache has none.
        files: the graph's artifacts for the runtime; more than one only if each has fixed axes.
        spec: the graph's contract, which the artifacts must keep.
        options: the runtime's options.

    Raises:
        RuntimeMissingError: the runtime is not installed, or this version has no such runtime.
        BundleError: an artifact cannot be loaded or breaks the contract.
    """
    return runtime_module(runtime).open_files(files, spec=spec, options=options)


def runtime_states() -> tuple[RuntimeState, ...]:
    """Tries every runtime."""
    of_bundles = (state for name in OF_BUNDLES for state in runtime_module(name).states())
    return (*of_bundles, _torch_state())


def _torch_state() -> RuntimeState:
    try:
        torch = import_runtime("torch", extra="torch")
    except RuntimeMissingError as error:
        return RuntimeState(name="torch", version="", reason=str(error))
    return RuntimeState(name="torch", version=torch.__version__)
