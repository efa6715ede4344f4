"""Which runtimes and execution providers really load on this machine, and why the others do not.

A package that is installed, or a provider that lists itself, may still not load: the only proof is
a session that says what it runs on.
"""

from __future__ import annotations

import importlib.util
import platform
from dataclasses import dataclass

from samclip_sdk.errors import RuntimeMissingError
from samclip_sdk.runtimes.importing import import_runtime
from samclip_sdk.runtimes.options import RuntimeOptions
from samclip_sdk.runtimes.ort_providers import (
    IDENTITY,
    TWO_ONNXRUNTIMES,
    check_providers,
    usable_providers,
)
from samclip_sdk.runtimes.trt_network import FLAVOURS, TENSORRT_WAY_OUT
from samclip_sdk.runtimes.versions import has_two_onnxruntimes, version_of

_MODULES = {
    "onnx": ("onnxruntime",),
    "openvino": ("openvino",),
    "coreml": ("coremltools",),
    "tensorrt": FLAVOURS,
}
"""Each runtime of bundles, and the modules of which it needs one."""


@dataclass(frozen=True)
class RuntimeState:
    """A runtime, or one of its execution providers, on this machine.

    Attributes:
        name: "onnx CUDAExecutionProvider", for instance.
        version: of the package; empty where there is none.
        loads: whether a graph can be run on it here.
        reason: why not, and what would help.
    """

    name: str
    version: str
    loads: bool
    reason: str = ""


def why_not_installed(runtime: str) -> str:
    """Why a runtime of bundles cannot run here, as far as that shows without importing it.

    Returns:
        A reason with a way out; empty where none shows.
    """
    modules = _MODULES[runtime]
    installed = any(importlib.util.find_spec(module) for module in modules)
    if runtime == "tensorrt":
        return "" if installed else f"there is no TensorRT here: {TENSORRT_WAY_OUT}"
    if not installed:
        return f'{modules[0]} is not installed: pip install "samclip-sdk[{runtime}]"'
    if runtime == "coreml" and platform.system() != "Darwin":
        return 'Core ML predicts on a Mac only; use "onnx" here: pip install "samclip-sdk[onnx]"'
    return ""


def check_runtime(runtime: str) -> None:
    """Refuses a runtime that does not run bundles or is not installed, and "auto" if none is.

    Raises:
        RuntimeMissingError: with what to do about it.
    """
    if runtime not in (*_MODULES, "auto"):
        raise RuntimeMissingError(
            f"bundles do not run on {runtime!r}: use {', '.join(_MODULES)}, auto"
        )
    if runtime == "auto":
        runtime = next((each for each in _MODULES if not why_not_installed(each)), "onnx")
    reason = why_not_installed(runtime)
    if reason:
        raise RuntimeMissingError(reason)


def runtime_states() -> tuple[RuntimeState, ...]:
    """Tries every runtime."""
    return (*_onnx(), *_openvino(), _coreml(), _tensorrt(), _torch())


def _onnx() -> list[RuntimeState]:
    version = version_of("onnxruntime") or version_of("onnxruntime-gpu")
    try:
        providers = usable_providers()
    except RuntimeMissingError as error:
        return [RuntimeState("onnx", version, loads=False, reason=str(error))]
    states = []
    for provider in providers:
        reason = ""
        try:
            check_providers(RuntimeOptions(providers=(provider,)))
        except RuntimeMissingError as error:
            reason = str(error)
        states.append(RuntimeState(f"onnx {provider}", version, loads=not reason, reason=reason))
    if has_two_onnxruntimes():
        states.append(RuntimeState("onnx", version, loads=False, reason=TWO_ONNXRUNTIMES))
    return states


def _openvino() -> list[RuntimeState]:
    """OpenVINO, and its bf16, which few CPUs compute in."""
    from samclip_sdk.runtimes.openvino import DEVICE, check_precision, openvino_core

    version = version_of("openvino")
    try:
        openvino_core().compile_model(openvino_core().read_model(IDENTITY), DEVICE)
    except RuntimeMissingError as error:
        return [RuntimeState("openvino", version, loads=False, reason=str(error))]
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        return [RuntimeState("openvino", version, loads=False, reason=reason)]
    try:
        check_precision("bf16")
    except RuntimeMissingError as error:
        bf16 = RuntimeState("openvino bf16", version, loads=False, reason=str(error))
    else:
        bf16 = RuntimeState("openvino bf16", version, loads=True)
    return [RuntimeState("openvino", version, loads=True), bf16]


def _coreml() -> RuntimeState:
    reason = why_not_installed("coreml")
    return RuntimeState("coreml", version_of("coremltools"), loads=not reason, reason=reason)


def _tensorrt() -> RuntimeState:
    from samclip_sdk.runtimes.trt_engine import describe_tensorrt

    try:
        return RuntimeState("tensorrt", describe_tensorrt(), loads=True)
    except RuntimeMissingError as error:
        version = version_of("tensorrt") or version_of("tensorrt-rtx-cu13")
        return RuntimeState("tensorrt", version, loads=False, reason=str(error))


def _torch() -> RuntimeState:
    try:
        torch = import_runtime("torch", extra="torch")
    except RuntimeMissingError as error:
        return RuntimeState("torch", "", loads=False, reason=str(error))
    return RuntimeState("torch", torch.__version__, loads=True)
