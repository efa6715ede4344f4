"""Which runtimes and execution providers really load on this machine, and why the others do not.

A package that is installed, or a provider that lists itself, may still not load: the only proof is
a session that says what it runs on.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import platform
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from samclip_sdk.errors import RuntimeMissingError
from samclip_sdk.runtimes.importing import import_onnxruntime, import_runtime

_PACKAGES = (
    "samclip-sdk",
    "numpy",
    "pillow",
    "onnxruntime",
    "onnxruntime-gpu",
    "openvino",
    "coremltools",
    "tensorrt",
    "tensorrt-rtx-cu13",
    "cuda-python",
    "torch",
)
_MODULES = {"onnx": "onnxruntime", "openvino": "openvino", "coreml": "coremltools"}
_TENSORRT_MODULES = ("tensorrt", "tensorrt_rtx")

# The smallest ONNX file there is: y = x.
_IDENTITY = bytes.fromhex(
    "08083a370a100a017812017922084964656e746974791201675a0f0a0178120a0a08080112040a02080162"
    "0f0a0179120a0a08080112040a02080142040a001012"
)

TWO_ONNXRUNTIMES = (
    "onnxruntime and onnxruntime-gpu are both installed and overwrite one another: pip uninstall "
    "both, then install the one that you want"
)


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


def installed_versions() -> dict[str, str]:
    """Package -> version, of this one and of what its results depend on."""
    return {name: version for name in _PACKAGES if (version := _version(name))}


def cpu_name() -> str:
    """The processor, or the board, as far as the system tells."""
    with suppress(OSError), Path("/proc/cpuinfo").open(encoding="utf-8") as file:
        for line in file:
            key, _, value = line.partition(":")
            if key.strip() in ("model name", "Model"):
                return value.strip()
    return platform.processor() or platform.machine()


def why_not_installed(runtime: str) -> str:
    """Why a runtime of bundles cannot run here, as far as that shows without importing it.

    Returns:
        A reason with a way out; empty where none shows.
    """
    if runtime == "coreml" and platform.system() != "Darwin":
        return "Core ML predicts on a Mac only"
    if runtime == "tensorrt":
        found = any(importlib.util.find_spec(module) for module in _TENSORRT_MODULES)
        return "" if found else "there is no TensorRT here"
    try:
        check_runtime(runtime)
    except RuntimeMissingError as error:
        return str(error)
    return ""


def check_runtime(runtime: str) -> None:
    """Refuses a runtime whose package is not installed, and "auto" if no runtime's is.

    Raises:
        RuntimeMissingError: with the pip command.
    """
    if runtime == "auto":
        if all(why_not_installed(each) for each in (*_MODULES, "tensorrt")):
            check_runtime("onnx")
        return
    module = _MODULES.get(runtime)
    if module is not None and importlib.util.find_spec(module) is None:
        raise RuntimeMissingError(
            f'{module} is not installed: pip install "samclip-sdk[{runtime}]"'
        )


def runtime_states() -> tuple[RuntimeState, ...]:
    """Tries every runtime."""
    return (*_onnx(), *_openvino(), _coreml(), _tensorrt(), _torch())


def _onnx() -> list[RuntimeState]:
    version = _version("onnxruntime") or _version("onnxruntime-gpu")
    try:
        ort = import_onnxruntime()
    except RuntimeMissingError as error:
        return [RuntimeState("onnx", version, loads=False, reason=str(error))]
    options = ort.SessionOptions()
    options.log_severity_level = 4
    states = []
    for provider in ort.get_available_providers():
        try:
            session = ort.InferenceSession(_IDENTITY, options, providers=[provider])
            loads, reason = provider in session.get_providers(), "its libraries do not load"
        except Exception as error:  # onnxruntime's exceptions share no base class of their own.
            loads, reason = False, str(error).splitlines()[0]
        states.append(
            RuntimeState(f"onnx {provider}", version, loads=loads, reason="" if loads else reason)
        )
    if _version("onnxruntime") and _version("onnxruntime-gpu"):
        states.append(RuntimeState("onnx", version, loads=False, reason=TWO_ONNXRUNTIMES))
    return states


def _openvino() -> list[RuntimeState]:
    """OpenVINO, and its bf16, which few CPUs compute in."""
    from samclip_sdk.runtimes.openvino import DEVICE, check_precision, openvino_core

    version = _version("openvino")
    try:
        openvino_core().compile_model(openvino_core().read_model(_IDENTITY), DEVICE)
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
    version = _version("coremltools")
    if not version:
        return RuntimeState("coreml", version, loads=False, reason=_install("coreml"))
    if platform.system() != "Darwin":
        reason = "Core ML predicts on a Mac only; here its programs can be made and read"
        return RuntimeState("coreml", version, loads=False, reason=reason)
    return RuntimeState("coreml", version, loads=True)


def _tensorrt() -> RuntimeState:
    from samclip_sdk.runtimes.trt_engine import describe_tensorrt

    try:
        return RuntimeState("tensorrt", describe_tensorrt(), loads=True)
    except RuntimeMissingError as error:
        version = _version("tensorrt") or _version("tensorrt-rtx-cu13")
        return RuntimeState("tensorrt", version, loads=False, reason=str(error))


def _torch() -> RuntimeState:
    try:
        torch = import_runtime("torch", extra="torch")
    except RuntimeMissingError as error:
        return RuntimeState("torch", "", loads=False, reason=str(error))
    return RuntimeState("torch", torch.__version__, loads=True)


def _install(extra: str) -> str:
    return f'pip install "samclip-sdk[{extra}]"'


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""
