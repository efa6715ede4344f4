"""Memory that was freed, and that the process still holds."""

from __future__ import annotations

import ctypes
import sys
from contextlib import suppress


def return_freed_memory() -> None:
    """Has glibc return to the system what was freed between blocks that are still in use.

    A runtime takes several times a graph's weights while it opens it, most of which glibc keeps
    for later: 75 MB of an image encoder's 110. Other systems and libraries do without.
    """
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)
