"""The packages that convert to LiteRT, in an environment of their own."""

from __future__ import annotations

from typing import Any

from export.quiet import quiet
from samclip_sdk.errors import RuntimeMissingError
from samclip_sdk.system.packages import import_runtime


def import_converter(module: str = "litert_torch") -> Any:
    """Imports a module of the converter's packages.

    Raises:
        RuntimeMissingError: it is not installed.
    """
    try:
        with quiet():
            return import_runtime(module, extra="export-litert")
    except RuntimeMissingError as error:
        raise RuntimeMissingError(
            f"{error}, in an environment of its own: it needs other versions of packages"
        ) from error
