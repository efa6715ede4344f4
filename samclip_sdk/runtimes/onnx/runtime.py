"""onnxruntime as a `RuntimeModule`."""

from __future__ import annotations

from collections.abc import Sequence

from samclip_sdk.bundle.files import GraphFile
from samclip_sdk.bundle.graph_spec import GraphSpec
from samclip_sdk.errors import RuntimeMissingError
from samclip_sdk.runtimes.availability import RuntimeState
from samclip_sdk.runtimes.onnx.providers import (
    TWO_ONNXRUNTIMES,
    check_providers,
    usable_providers,
)
from samclip_sdk.runtimes.onnx.session import OrtSession
from samclip_sdk.runtimes.options import RuntimeOptions
from samclip_sdk.runtimes.versions import has_two_onnxruntimes
from samclip_sdk.system.packages import package_version


def check(*, precision: str | None, options: RuntimeOptions) -> None:
    """Opens the smallest graph on the requested device or providers, if there are any."""
    if options.device or options.providers:
        check_providers(options)


def open_files(
    files: Sequence[GraphFile], *, spec: GraphSpec, options: RuntimeOptions
) -> OrtSession:
    """Opens the one file of a graph; keeps what onnxruntime makes of it in the user's cache."""
    return OrtSession(files[0], spec=spec, options=options)


def states() -> Sequence[RuntimeState]:
    """Tries each execution provider."""
    version = package_version("onnxruntime") or package_version("onnxruntime-gpu")
    try:
        providers = usable_providers()
    except RuntimeMissingError as error:
        return [RuntimeState(name="onnx", version=version, reason=str(error))]
    found = []
    for provider in providers:
        try:
            check_providers(RuntimeOptions(providers=(provider,)))
            reason = ""
        except RuntimeMissingError as error:
            reason = str(error)
        found.append(RuntimeState(name=f"onnx {provider}", version=version, reason=reason))
    if has_two_onnxruntimes():
        found.append(RuntimeState(name="onnx", version=version, reason=TWO_ONNXRUNTIMES))
    return found
