"""The user's folders of this package: caches, which may be removed at any time, and data."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import platformdirs


def user_cache(kind: str) -> Path:
    """The folder of a cache; nobody makes it before something is kept there."""
    return _below(lambda: platformdirs.user_cache_path("samclip-sdk"), kind)


def user_data(kind: str) -> Path:
    """The folder of what was found out on this machine."""
    return _below(lambda: platformdirs.user_data_path("samclip-sdk"), kind)


def _below(find: Callable[[], Path], kind: str) -> Path:
    """A user without a home, as containers have them, has a folder that cannot be written."""
    try:
        folder = find()
    except RuntimeError:
        folder = Path(os.devnull)
    # Older versions of platformdirs leave the ~ as it is, which would be a folder of that name.
    return (Path(os.devnull) if folder.parts[:1] == ("~",) else folder) / kind
