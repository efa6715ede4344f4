"""Threads that read ahead."""

from __future__ import annotations

import threading
import time


def readers() -> list[str]:
    return [each.name for each in threading.enumerate() if each.name.startswith("samclip-reader")]


def readers_end() -> bool:
    """Whether all of them end; after an error nobody has waited for them."""
    deadline = time.monotonic() + 30
    while readers() and time.monotonic() < deadline:
        time.sleep(0.001)
    return not readers()
