"""Opens a graph on the runtime that was asked for; no other runtime is imported."""

from __future__ import annotations

from collections.abc import Sequence

from samclip_sdk.bundle.graph_spec import GraphSpec
from samclip_sdk.errors import RuntimeMissingError
from samclip_sdk.runtimes.base import DEFAULT_OPTIONS, RuntimeOptions
from samclip_sdk.session import GraphFile, Session


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
            from samclip_sdk.runtimes.ort import OrtSession

            return OrtSession(
                files[0].path, spec=spec, providers=options.providers, threads=options.threads
            )
        case "openvino":
            from samclip_sdk.runtimes.openvino import OpenVINOSession

            return OpenVINOSession(
                files[0],
                spec=spec,
                threads=options.threads,
                keep_compiled=options.keep_compiled,
            )
        case "coreml":
            from samclip_sdk.runtimes.coreml import CoreMLSession

            return CoreMLSession(files, spec=spec, compute_units=options.compute_units)
        case "tensorrt":
            from samclip_sdk.runtimes.trt import open_trt_session

            return open_trt_session(files[0], spec=spec, on_progress=options.on_progress)
        case _:
            raise RuntimeMissingError(
                f'this version of samclip-sdk does not run bundles on {runtime!r}; use "onnx": '
                'pip install "samclip-sdk[onnx]"'
            )
