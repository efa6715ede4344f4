"""Core ML as a `RuntimeModule`."""

from __future__ import annotations

from collections.abc import Sequence

from samclip_sdk.bundle.files import GraphFile
from samclip_sdk.bundle.graph_spec import GraphSpec
from samclip_sdk.runtimes.availability import RuntimeState, why_not_installed
from samclip_sdk.runtimes.coreml.session import CoreMLSession
from samclip_sdk.runtimes.options import RuntimeOptions
from samclip_sdk.system.packages import package_version


def check(*, precision: str | None, options: RuntimeOptions) -> None:
    """Checks nothing: errors of Core ML show only when a package is opened."""


def open_files(
    files: Sequence[GraphFile], *, spec: GraphSpec, options: RuntimeOptions
) -> CoreMLSession:
    """Opens the packages of a graph, one for each set of lengths of its symbolic axes."""
    return CoreMLSession(
        files, spec=spec, compute_units=options.compute_units, on_progress=options.on_progress
    )


def states() -> Sequence[RuntimeState]:
    """Checks whether this is a Mac with coremltools."""
    version = package_version("coremltools")
    return [RuntimeState(name="coreml", version=version, reason=why_not_installed("coreml"))]
