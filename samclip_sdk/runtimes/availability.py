"""Whether a runtime is installed on this machine, found out without importing it.

A package that is installed, or a provider that lists itself, may still not load: the only proof is
a session that says what it runs on. See `opening.runtime_states`.
"""

from __future__ import annotations

import importlib.util
import platform

from pydantic import computed_field

from samclip_sdk.errors import RuntimeMissingError
from samclip_sdk.runtimes.table import OF_BUNDLES, RUNTIMES
from samclip_sdk.system.records import Record


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
    known = RUNTIMES[runtime]
    if not any(importlib.util.find_spec(module) for module in known.modules):
        return f"{known.modules[0]} is not installed: {known.install}"
    return known.elsewhere if known.system not in ("", platform.system()) else ""


def check_runtime(runtime: str) -> None:
    """Refuses a runtime that does not run bundles, or is not installed.

    Raises:
        RuntimeMissingError: with what to do about it.
    """
    if runtime not in OF_BUNDLES:
        raise RuntimeMissingError(f"bundles do not run on {runtime!r}: use {', '.join(OF_BUNDLES)}")
    reason = why_not_installed(runtime)
    if reason:
        raise RuntimeMissingError(reason)


def check_any_runtime() -> None:
    """Refuses to go on where no runtime of bundles is installed.

    Raises:
        RuntimeMissingError: with the pip command of onnxruntime.
    """
    if all(map(why_not_installed, OF_BUNDLES)):
        check_runtime("onnx")
