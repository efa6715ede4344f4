"""Which runtimes and execution providers really load on this machine, and why the others do not.

A package that is installed, or a provider that lists itself, may still not load: the only proof is
a session that says what it runs on.
"""

from __future__ import annotations

import importlib.util
import platform

from pydantic import computed_field

from samclip_sdk.errors import RuntimeMissingError
from samclip_sdk.runtimes.onnx.providers import (
    IDENTITY,
    TWO_ONNXRUNTIMES,
    check_providers,
    usable_providers,
)
from samclip_sdk.runtimes.options import RuntimeOptions
from samclip_sdk.runtimes.tensorrt.network import FLAVOURS, TENSORRT_WAY_OUT
from samclip_sdk.runtimes.versions import has_two_onnxruntimes
from samclip_sdk.system.packages import import_runtime, package_version
from samclip_sdk.system.records import Record

_MODULES = {
    "onnx": ("onnxruntime",),
    "openvino": ("openvino",),
    "coreml": ("coremltools",),
    "tensorrt": FLAVOURS,
}
"""Each runtime of bundles, and the modules of which it needs one."""


class RuntimeState(Record):
    """A runtime, or one of its execution providers, on this machine.

    Attributes:
        name: "onnx CUDAExecutionProvider", for instance.
        version: of the package; empty where there is none.
        reason: why no graph can be run on it here, and what would help; empty where one can.
        loads: whether one can.
    """

    name: str
    version: str
    reason: str = ""

    @computed_field  # type: ignore[prop-decorator]  # mypy knows no decorator over a property
    @property
    def loads(self) -> bool:
        """See above."""
        return not self.reason


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
    """Refuses a runtime that does not run bundles, or is not installed.

    Raises:
        RuntimeMissingError: with what to do about it.
    """
    if runtime not in _MODULES:
        raise RuntimeMissingError(f"bundles do not run on {runtime!r}: use {', '.join(_MODULES)}")
    reason = why_not_installed(runtime)
    if reason:
        raise RuntimeMissingError(reason)


def check_any_runtime() -> None:
    """Refuses to go on where no runtime of bundles is installed.

    Raises:
        RuntimeMissingError: with the pip command of onnxruntime.
    """
    if all(map(why_not_installed, _MODULES)):
        check_runtime("onnx")


def runtime_states() -> tuple[RuntimeState, ...]:
    """Tries every runtime."""
    return (*_onnx(), *_openvino(), _coreml(), _tensorrt(), _torch())


def _onnx() -> list[RuntimeState]:
    version = package_version("onnxruntime") or package_version("onnxruntime-gpu")
    try:
        providers = usable_providers()
    except RuntimeMissingError as error:
        return [RuntimeState(name="onnx", version=version, reason=str(error))]
    states = []
    for provider in providers:
        try:
            check_providers(RuntimeOptions(providers=(provider,)))
            reason = ""
        except RuntimeMissingError as error:
            reason = str(error)
        states.append(RuntimeState(name=f"onnx {provider}", version=version, reason=reason))
    if has_two_onnxruntimes():
        states.append(RuntimeState(name="onnx", version=version, reason=TWO_ONNXRUNTIMES))
    return states


def _openvino() -> list[RuntimeState]:
    """OpenVINO, and its bf16, which few CPUs compute in."""
    from samclip_sdk.runtimes.openvino.session import DEVICE, check_precision, openvino_core

    version = package_version("openvino")
    try:
        openvino_core().compile_model(openvino_core().read_model(IDENTITY), DEVICE)
    except (RuntimeMissingError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        return [RuntimeState(name="openvino", version=version, reason=reason)]
    try:
        check_precision("bf16")
        reason = ""
    except RuntimeMissingError as error:
        reason = str(error)
    bf16 = RuntimeState(name="openvino bf16", version=version, reason=reason)
    return [RuntimeState(name="openvino", version=version), bf16]


def _coreml() -> RuntimeState:
    return RuntimeState(
        name="coreml", version=package_version("coremltools"), reason=why_not_installed("coreml")
    )


def _tensorrt() -> RuntimeState:
    from samclip_sdk.runtimes.tensorrt.engine import describe_tensorrt

    try:
        return RuntimeState(name="tensorrt", version=describe_tensorrt())
    except RuntimeMissingError as error:
        version = package_version("tensorrt") or package_version("tensorrt-rtx-cu13")
        return RuntimeState(name="tensorrt", version=version, reason=str(error))


def _torch() -> RuntimeState:
    try:
        torch = import_runtime("torch", extra="torch")
    except RuntimeMissingError as error:
        return RuntimeState(name="torch", version="", reason=str(error))
    return RuntimeState(name="torch", version=torch.__version__)
