"""The options that a caller gives for a hub, and huggingface_hub with its environment variables."""

from __future__ import annotations

import importlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from samclip_sdk.errors import RuntimeMissingError
from samclip_sdk.system.packages import import_runtime, package_version
from samclip_sdk.system.user_folders import user_cache

_PUBLIC_HUB = "https://huggingface.co"
_YES = ("1", "ON", "YES", "TRUE")
_MIN_MAJOR = 2


@dataclass(frozen=True)
class HubOptions:
    """The options for a bundle of a hub.

    Attributes:
        revision: a branch, a tag or a commit; if None, the revision in the name, or "main".
        cache_dir: the folder that keeps bundles; a folder in the user's cache if None.
        local_files_only: take what the cache has, and ask no hub; HF_HUB_OFFLINE does the same.
        token: sent with each request; None takes the token that the user has logged in with
            (`hf auth login`, HF_TOKEN), False sends none.
        is_repository: whether the caller says that the name is a repository's. Otherwise it may be
            the path of a folder that is missing, unless it names a revision.
    """

    revision: str | None = None
    cache_dir: str | os.PathLike[str] | None = None
    local_files_only: bool = False
    token: str | bool | None = field(default=None, repr=False)
    is_repository: bool = True

    @property
    def folder(self) -> Path:
        """The folder that keeps the bundles of hubs."""
        if self.cache_dir is None:
            return user_cache("hub")
        return Path(os.path.expanduser(self.cache_dir))

    @property
    def asks_nobody(self) -> bool:
        """Whether no request may be made."""
        return self.local_files_only or os.environ.get("HF_HUB_OFFLINE", "").upper() in _YES


DEFAULT_HUB = HubOptions(is_repository=False)


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
    if int(version.partition(".")[0]) < _MIN_MAJOR:
        raise RuntimeMissingError(
            f'huggingface_hub {version} is too old: pip install "samclip-sdk[hub]"'
        )
    return package


def hub_module(name: str) -> Any:
    """Imports a module of huggingface_hub, `errors` for instance; raises what `import_hub` does."""
    import_hub()
    return importlib.import_module(f"huggingface_hub.{name}")


def own_name() -> str:
    """The name that this package gives to a hub."""
    return f"samclip-sdk/{package_version('samclip-sdk') or 'unknown'}"


def hub_endpoint() -> str:
    """The address of the hub: HF_ENDPOINT, or the public one."""
    return (os.environ.get("HF_ENDPOINT") or _PUBLIC_HUB).rstrip("/")
