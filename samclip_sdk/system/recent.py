"""A least-recently-used cache with a limit in bytes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Recent(Generic[Value]):
    """A least-recently-used cache: values by key.

    Any number of threads may use it.

    Args:
        limit_bytes: for all of them together.
    """

    def __init__(self, *, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._entries: OrderedDict[str, tuple[Value, int]] = OrderedDict()
        self._lock = threading.Lock()
        self.held_bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: str) -> Value | None:
        """The value, which counts as used now; None if it is not there."""
        with self._lock:
            if key not in self._entries:
                return None
            self._entries.move_to_end(key)
            return self._entries[key][0]

    def put(self, key: str, value: Value, *, size_bytes: int) -> None:
        """Keeps a value, and forgets the least recently used ones until all fit.

        The new value itself stays, whatever its size.
        """
        with self._lock:
            if key in self._entries:
                self.held_bytes -= self._entries.pop(key)[1]
            self._entries[key] = (value, size_bytes)
            self.held_bytes += size_bytes
            while self.held_bytes > self._limit_bytes and len(self._entries) > 1:
                self.held_bytes -= self._entries.popitem(last=False)[1][1]
