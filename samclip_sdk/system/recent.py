"""What was used last, as much of it as memory is granted."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Recent(Generic[Value]):
    """Values by key; what was not used for longest is forgotten first.

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
        """The value, if it is there; it counts as used now."""
        with self._lock:
            if key not in self._entries:
                return None
            self._entries.move_to_end(key)
            return self._entries[key][0]

    def put(self, key: str, value: Value, *, size_bytes: int) -> None:
        """Keeps a value, and forgets others until all fit; alone it stays, whatever its size."""
        with self._lock:
            if key in self._entries:
                self.held_bytes -= self._entries.pop(key)[1]
            self._entries[key] = (value, size_bytes)
            self.held_bytes += size_bytes
            while self.held_bytes > self._limit_bytes and len(self._entries) > 1:
                self.held_bytes -= self._entries.popitem(last=False)[1][1]
