"""ExecuTorch as a `RuntimeModule`."""

from __future__ import annotations

from collections.abc import Sequence

from samclip_sdk.bundle.files import GraphFile
from samclip_sdk.bundle.graph_spec import GraphSpec
from samclip_sdk.errors import RuntimeMissingError
from samclip_sdk.runtimes.availability import RuntimeState
from samclip_sdk.runtimes.executorch.program import import_executorch
from samclip_sdk.runtimes.executorch.session import ExecuTorchSession
from samclip_sdk.runtimes.options import RuntimeOptions
from samclip_sdk.system.packages import package_version


def check(*, precision: str | None, options: RuntimeOptions) -> None:
    """Checks nothing: every precision of the table runs on every CPU."""


def open_files(
    files: Sequence[GraphFile], *, spec: GraphSpec, options: RuntimeOptions
) -> ExecuTorchSession:
    """Opens the one file of a graph."""
    return ExecuTorchSession(files[0], spec=spec)


def states() -> Sequence[RuntimeState]:
    """Imports ExecuTorch, and asks it for XNNPACK."""
    version = package_version("executorch")
    try:
        known = import_executorch().backend_registry.is_available("XnnpackBackend")
        reason = "" if known else "this build of executorch has no XNNPACK"
    except RuntimeMissingError as error:
        reason = str(error)
    return [RuntimeState(name="executorch", version=version, reason=reason)]
