"""The requests of one graph: each computes one call at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


class Requests:
    """Lends each call a request, and makes another one when all are lent.

    A call waits if there are as many as there may be. The one that came back last is lent first:
    so calls one after another need a single request and its memory.

    Args:
        make: makes a request; a few threads may call it at once.
        at_most: how many there may be.
    """

    def __init__(self, make: Callable[[], Any], *, at_most: int) -> None:
        self._make, self._to_make = make, at_most
        self._idle: list[Any] = []
        self._closed = False
        self._changed = threading.Condition()

    @contextmanager
    def lent(self) -> Iterator[Any]:
        """A request for one call.

        Raises:
            ValueError: all were closed.
        """
        request = self._take()
        try:
            yield request
        finally:
            with self._changed:
                if not self._closed:
                    self._idle.append(request)
                    self._changed.notify()

    def close(self) -> None:
        """Frees the requests; those that are lent when their calls end."""
        with self._changed:
            self._closed = True
            self._idle.clear()
            self._changed.notify_all()

    def _take(self) -> Any:
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._idle or self._to_make)
            if self._closed:
                raise ValueError("the session is closed")
            if self._idle:
                return self._idle.pop()
            self._to_make -= 1
        try:
            return self._make()
        except BaseException:
            with self._changed:
                self._to_make += 1
                self._changed.notify()
            raise
