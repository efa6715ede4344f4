"""Opens a graph on the runtime that was asked for; no other runtime is imported."""

from __future__ import annotations

from collections.abc import Sequence

from samclip_sdk.bundle.files import GraphFile
from samclip_sdk.bundle.graph_spec import GraphSpec
from samclip_sdk.errors import RuntimeMissingError
from samclip_sdk.runtimes.availability import check_runtime
from samclip_sdk.runtimes.options import DEFAULT_OPTIONS, RuntimeOptions, check_options
from samclip_sdk.runtimes.session import Session


def check_openable(runtime: str, *, precision: str | None, options: RuntimeOptions) -> None:
    """Refuses a way to run a bundle that no graph of it could be opened with here.

    That would else show at the first inference. With default options nothing is imported for it.

    Args:
        runtime: "onnx", "openvino", "coreml" or "tensorrt".
        precision: that the bundle is to run in; the one that it lists first if None.
        options: of the runtime.

    Raises:
        OptionError: the runtime does not take one of the options.
        RuntimeMissingError: the runtime, its device or one of its providers is not there.
        BundleError: the runtime has no such precision.
    """
    check_runtime(runtime)
    check_options(runtime, options=options)
    match runtime:
        case "onnx" if options.device or options.providers:
            from samclip_sdk.runtimes.onnx.providers import check_providers

            check_providers(options)
        case "openvino" if precision is not None:
            from samclip_sdk.runtimes.openvino.session import check_precision

            check_precision(precision)
        case "tensorrt":
            from samclip_sdk.runtimes.tensorrt.engine import describe_tensorrt

            describe_tensorrt()


def open_session(
    runtime: str,
    *,
    files: Sequence[GraphFile],
    spec: GraphSpec,
    options: RuntimeOptions = DEFAULT_OPTIONS,
) -> Session:
    """Opens one graph of a bundle; for a checkpoint's graphs see `runtimes.pytorch`.

    Args:
        runtime: "onnx", "openvino", "coreml", or "tensorrt", whose engines are built where the
            cache has none.
        files: the graph's artifacts for it; more than one only where each has fixed axes.
        spec: the graph's contract, which the artifacts must keep.
        options: of the runtime.

    Raises:
        RuntimeMissingError: the runtime is not installed, or this version has no such runtime.
        BundleError: an artifact cannot be loaded or breaks the contract.
    """
    match runtime:
        case "onnx":
            from samclip_sdk.runtimes.onnx.session import OrtSession

            return OrtSession(files[0].path, spec=spec, options=options)
        case "openvino":
            from samclip_sdk.runtimes.openvino.session import OpenVINOSession

            return OpenVINOSession(files[0], spec=spec, options=options)
        case "coreml":
            from samclip_sdk.runtimes.coreml.session import CoreMLSession

            return CoreMLSession(
                files,
                spec=spec,
                compute_units=options.compute_units,
                on_progress=options.on_progress,
            )
        case "tensorrt":
            from samclip_sdk.runtimes.tensorrt.session import open_trt_session

            return open_trt_session(files[0], spec=spec, on_progress=options.on_progress)
        case _:
            raise RuntimeMissingError(
                f'this version of samclip-sdk does not run bundles on {runtime!r}; use "onnx": '
                'pip install "samclip-sdk[onnx]"'
            )
