"""Checks whether a runtime is installed on this machine, without importing it.

An installed package or a listed execution provider may still not load. The only proof is a session
that reports the device it runs on. See `opening.runtime_states`.
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
        version: the package's version; empty if there is none.
        reason: why it cannot run a graph here, and what would help; empty if it can.
        loads: whether it can run a graph here.
    """

    name: str
    version: str
    reason: str = ""

    @computed_field  # type: ignore[prop-decorator]  # mypy knows no decorator over a property
    @property
    def loads(self) -> bool:
        """Whether it can run a graph here."""
        return not self.reason


def why_not_installed(runtime: str) -> str:
    """The reason why a runtime of bundles cannot run here, found without importing it.

    Returns:
        A reason with a way out; empty if no reason was found.
    """
    known = RUNTIMES[runtime]
    if not any(importlib.util.find_spec(module) for module in known.modules):
        return f"{known.modules[0]} is not installed: {known.install}"
    return known.elsewhere if known.system not in ("", platform.system()) else ""


def check_runtime(runtime: str) -> None:
    """Refuses a runtime that does not run bundles or is not installed.

    Raises:
        RuntimeMissingError: the message has the way out.
    """
    if runtime not in OF_BUNDLES:
        raise RuntimeMissingError(f"bundles do not run on {runtime!r}: use {', '.join(OF_BUNDLES)}")
    reason = why_not_installed(runtime)
    if reason:
        raise RuntimeMissingError(reason)


def check_any_runtime() -> None:
    """Checks that any runtime of bundles is installed.

    Raises:
        RuntimeMissingError: none is; the message has the pip command of onnxruntime.
    """
    if all(map(why_not_installed, OF_BUNDLES)):
        check_runtime("onnx")
