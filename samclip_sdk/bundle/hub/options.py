"""What a caller may ask of a hub."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from samclip_sdk.bundle.hub.package import hub_is_off
from samclip_sdk.system.user_folders import user_cache


@dataclass(frozen=True)
class HubOptions:
    """How a bundle is taken from a hub.

    Attributes:
        revision: a branch, a tag or a commit; the name's own, or "main", if None.
        cache_dir: where it is kept; a folder in the user's cache if None.
        local_files_only: take what is kept there, and ask nobody; HF_HUB_OFFLINE says so too.
        token: with which the hub is asked; None takes the one that the user has logged in with
            (`hf auth login`, HF_TOKEN), False none.
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
        """Where bundles of hubs are kept."""
        if self.cache_dir is None:
            return user_cache("hub")
        return Path(os.path.expanduser(self.cache_dir))

    @property
    def asks_nobody(self) -> bool:
        """Whether no request may be made."""
        return self.local_files_only or hub_is_off()


DEFAULT_HUB = HubOptions(is_repository=False)
