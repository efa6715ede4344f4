"""LiteRT as a `RuntimeModule`."""

from __future__ import annotations

from collections.abc import Sequence

from samclip_sdk.bundle.files import GraphFile
from samclip_sdk.bundle.graph_spec import GraphSpec
from samclip_sdk.errors import RuntimeMissingError
from samclip_sdk.runtimes.availability import RuntimeState
from samclip_sdk.runtimes.litert.interpreter import import_interpreter
from samclip_sdk.runtimes.litert.session import LiteRTSession
from samclip_sdk.runtimes.options import RuntimeOptions
from samclip_sdk.system.packages import package_version


def check(*, precision: str | None, options: RuntimeOptions) -> None:
    """Checks nothing: every precision of the table runs on every CPU."""


def open_files(
    files: Sequence[GraphFile], *, spec: GraphSpec, options: RuntimeOptions
) -> LiteRTSession:
    """Opens the one file of a graph."""
    return LiteRTSession(files[0], spec=spec, options=options)


def states() -> Sequence[RuntimeState]:
    """Makes an interpreter of the smallest file."""
    version = package_version("ai-edge-litert")
    try:
        import_interpreter()
        reason = ""
    except RuntimeMissingError as error:
        reason = str(error)
    return [RuntimeState(name="litert", version=version, reason=reason)]
