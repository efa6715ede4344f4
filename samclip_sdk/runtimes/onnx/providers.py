"""onnxruntime's execution providers: the requested ones, their settings, and whether they load."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from samclip_sdk.errors import RuntimeMissingError
from samclip_sdk.runtimes.options import RuntimeOptions, device_index
from samclip_sdk.runtimes.versions import has_two_onnxruntimes
from samclip_sdk.system.packages import import_onnxruntime

CPU_PROVIDER = "CPUExecutionProvider"
CUDA_PROVIDER = "CUDAExecutionProvider"
TENSORRT_PROVIDER = "TensorrtExecutionProvider"

_REMOTE = "AzureExecutionProvider"
"""It is listed everywhere and loads, but it only sends graphs of its own to a server."""

TWO_ONNXRUNTIMES = (
    "onnxruntime and onnxruntime-gpu are both installed and overwrite one another: pip uninstall "
    "both, then install the one that you want"
)

_FATAL_ONLY = 4

# The smallest possible ONNX file: y = x.
IDENTITY = bytes.fromhex(
    "08083a370a100a017812017922084964656e746974791201675a0f0a0178120a0a08080112040a02080162"
    "0f0a0179120a0a08080112040a02080142040a001012"
)


def wanted_providers(options: RuntimeOptions) -> tuple[str, ...]:
    """The providers that the options request, the preferred one first and the CPU last."""
    on_gpu = options.device is not None and options.device.startswith("cuda")
    asked = (CUDA_PROVIDER,) if on_gpu else options.providers
    return tuple(dict.fromkeys([*asked, CPU_PROVIDER]))


def provider_settings(options: RuntimeOptions) -> list[tuple[str, dict[str, str]]]:
    """The requested providers, each with its settings."""
    number = {"device_id": str(device_index(options.device or ""))}
    told = {
        # By default, products of fp32 matrices are rounded to the ten bits of TF32. They then
        # break the bounds of fp32 artifacts, because coordinates must be exact.
        CUDA_PROVIDER: {**number, "use_tf32": "0"},
        TENSORRT_PROVIDER: number,
    }
    return [(name, told.get(name, {})) for name in wanted_providers(options)]


def usable_providers() -> tuple[str, ...]:
    """The providers that this onnxruntime was built with and that run graphs on this device.

    Raises:
        RuntimeMissingError: onnxruntime is not installed.
    """
    listed = import_onnxruntime().get_available_providers()
    return tuple(name for name in listed if name != _REMOTE)


def open_graph(model: str | bytes, *, options: RuntimeOptions, session_options: Any) -> Any:
    """Opens a graph on the requested providers and no others.

    Args:
        model: a path, or the bytes of an ONNX file.
        options: the options that request the providers.
        session_options: onnxruntime's SessionOptions.

    Returns:
        An InferenceSession. Exceptions of onnxruntime pass through.

    Raises:
        RuntimeMissingError: onnxruntime, or a provider, is missing.
    """
    wanted = wanted_providers(options)
    _refuse_missing(wanted, found=usable_providers())
    session = import_onnxruntime().InferenceSession(
        model,
        sess_options=session_options,
        providers=provider_settings(options),
        enable_fallback=0,  # a fallback to the CPU would be reported on standard output only
    )
    # A provider whose libraries do not load is dropped without an exception.
    _refuse_missing(wanted, found=session.get_providers())
    return session


def check_providers(options: RuntimeOptions) -> None:
    """Opens the smallest graph on the requested providers: the only proof that they load.

    Raises:
        RuntimeMissingError: one of them does not load, or has no device with that number.
    """
    session_options = import_onnxruntime().SessionOptions()
    session_options.log_severity_level = _FATAL_ONLY
    try:
        open_graph(IDENTITY, options=options, session_options=session_options)
    except RuntimeMissingError:
        raise
    except Exception as error:  # onnxruntime's exceptions have no common base class
        asked = options.device or ", ".join(options.providers)
        reason = str(error).splitlines()[0]
        raise RuntimeMissingError(f"onnxruntime cannot use {asked} here: {reason}") from error


def _refuse_missing(wanted: Sequence[str], *, found: Sequence[str]) -> None:
    missing = ", ".join(name for name in wanted if name not in found)
    if missing and has_two_onnxruntimes():
        raise RuntimeMissingError(f"{missing} does not load: {TWO_ONNXRUNTIMES}")
    if missing:
        raise RuntimeMissingError(
            f"onnxruntime cannot use {missing} here, only {', '.join(found)}; for NVIDIA GPUs: "
            'pip uninstall onnxruntime, then pip install "samclip-sdk[onnx-gpu]"'
        )
