"""OpenVINO as a `RuntimeModule`."""

from __future__ import annotations

from collections.abc import Sequence

from samclip_sdk.bundle.files import GraphFile
from samclip_sdk.bundle.graph_spec import GraphSpec
from samclip_sdk.errors import RuntimeMissingError
from samclip_sdk.runtimes.availability import RuntimeState
from samclip_sdk.runtimes.onnx.providers import IDENTITY
from samclip_sdk.runtimes.openvino.session import (
    DEVICE,
    OpenVINOSession,
    check_precision,
    openvino_core,
)
from samclip_sdk.runtimes.options import RuntimeOptions
from samclip_sdk.system.packages import package_version


def check(*, precision: str | None, options: RuntimeOptions) -> None:
    """Refuses a requested precision that this CPU does not compute in."""
    if precision is not None:
        check_precision(precision)


def open_files(
    files: Sequence[GraphFile], *, spec: GraphSpec, options: RuntimeOptions
) -> OpenVINOSession:
    """Opens the one file of a graph; compiles it if the cache does not have the result."""
    return OpenVINOSession(files[0], spec=spec, options=options)


def states() -> Sequence[RuntimeState]:
    """Tries OpenVINO, and the precisions that not every CPU supports."""
    version = package_version("openvino")
    try:
        openvino_core().compile_model(openvino_core().read_model(IDENTITY), DEVICE)
    except (RuntimeMissingError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        return [RuntimeState(name="openvino", version=version, reason=reason)]
    found = [RuntimeState(name="openvino", version=version)]
    for precision in ("bf16", "int8"):
        try:
            check_precision(precision)
            reason = ""
        except RuntimeMissingError as error:
            reason = str(error)
        state = RuntimeState(name=f"openvino {precision}", version=version, reason=reason)
        found.append(state)
    return found
