"""Imports of the packages that run graphs: a missing one names its pip command, none phones home.

Since onnxruntime 1.32 its import writes a device id and a database under the user's cache and looks
up a host of its maker; OpenVINO's writes into `~/intel` and sends an event. A library that runs on
other people's devices must do neither. Whoever wants the telemetry of OpenVINO imports it before.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from samclip_sdk.errors import RuntimeMissingError

_ORT_SWITCH = "ORT_DISABLE_TELEMETRY"
_OPENVINO_SENDER = "openvino_telemetry"


def import_runtime(module: str, *, extra: str) -> Any:
    """Imports an optional package.

    Args:
        module: its name.
        extra: the extra of samclip-sdk that installs it.

    Raises:
        RuntimeMissingError: it is not installed; the message holds the pip command.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise RuntimeMissingError(
            f'{module} cannot be imported ({error}): pip install "samclip-sdk[{extra}]"'
        ) from error


def import_onnxruntime() -> Any:
    """Imports onnxruntime with its telemetry off, unless the user has set ORT_DISABLE_TELEMETRY.

    Its own `disable_telemetry_events` comes too late: the import itself has then written its files.

    Raises:
        RuntimeMissingError: it is not installed.
    """
    os.environ.setdefault(_ORT_SWITCH, "1")
    return import_runtime("onnxruntime", extra="onnx")


def import_openvino() -> Any:
    """Imports OpenVINO without its telemetry, for which it has no switch but a missing package.

    Raises:
        RuntimeMissingError: it is not installed.
    """
    with _hidden(_OPENVINO_SENDER):
        return import_runtime("openvino", extra="openvino")


@contextmanager
def _hidden(module: str) -> Iterator[None]:
    """Makes imports of a module fail as if it were not installed, unless it is imported already."""
    if module in sys.modules:
        yield
        return
    sys.modules[module] = None  # type: ignore[assignment]  # Python's own mark of a missing module
    try:
        yield
    finally:
        del sys.modules[module]


def package_version(package: str) -> str:
    """A package's version; empty where it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""
