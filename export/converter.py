"""The packages that convert to LiteRT and to ExecuTorch, each in an environment of its own."""

from __future__ import annotations

from typing import Any

from export.quiet import quiet
from samclip_sdk.errors import RuntimeMissingError
from samclip_sdk.system.packages import import_runtime


def import_litert_converter(module: str = "litert_torch") -> Any:
    """Imports a module of the packages that convert to LiteRT.

    Raises:
        RuntimeMissingError: it is not installed.
    """
    return _import(module, extra="export-litert")


def import_executorch_converter(module: str = "executorch.exir") -> Any:
    """Imports a module of the package that converts to ExecuTorch.

    Raises:
        RuntimeMissingError: it is not installed.
    """
    return _import(module, extra="export-executorch")


def _import(module: str, *, extra: str) -> Any:
    try:
        with quiet():
            return import_runtime(module, extra=extra)
    except RuntimeMissingError as error:
        raise RuntimeMissingError(
            f"{error}, in an environment of its own: it chooses the versions of other packages"
        ) from error
