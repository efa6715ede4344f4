"""huggingface_hub, imported where it is first needed, and what its environment variables say."""

from __future__ import annotations

import importlib
import os
from typing import Any

from samclip_sdk.errors import RuntimeMissingError
from samclip_sdk.system.packages import import_runtime, package_version

_PUBLIC_HUB = "https://huggingface.co"
_YES = ("1", "ON", "YES", "TRUE")
_LEAST_MAJOR = 2


def import_hub() -> Any:
    """Imports huggingface_hub with its telemetry off, unless HF_HUB_DISABLE_TELEMETRY is set.

    It reads the variable on its import, and without it tells the hub of other packages that are
    installed.

    Raises:
        RuntimeMissingError: it is not installed, or one that other packages brought is too old.
    """
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    package = import_runtime("huggingface_hub", extra="hub")
    version = str(package.__version__)
    if int(version.partition(".")[0]) < _LEAST_MAJOR:
        raise RuntimeMissingError(
            f'huggingface_hub {version} is too old: pip install "samclip-sdk[hub]"'
        )
    return package


def hub_module(name: str) -> Any:
    """Imports a module of huggingface_hub, `errors` for instance; raises what `import_hub` does."""
    import_hub()
    return importlib.import_module(f"huggingface_hub.{name}")


def own_name() -> str:
    """What this package calls itself before a hub."""
    return f"samclip-sdk/{package_version('samclip-sdk') or 'unknown'}"


def hub_endpoint() -> str:
    """The address of the hub: HF_ENDPOINT, or the public one."""
    return (os.environ.get("HF_ENDPOINT") or _PUBLIC_HUB).rstrip("/")


def hub_is_off() -> bool:
    """Whether HF_HUB_OFFLINE forbids to ask the hub."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in _YES
