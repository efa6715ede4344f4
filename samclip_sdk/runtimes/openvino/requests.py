"""The requests of one graph: each computes one call at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any


class Requests:
    """Lends each call a request: first there is one, and more from when two calls meet.

    So who never asks twice at once pays for a single one. A call that finds all lent waits.

    Args:
        make: makes so many requests, which share what they can.
        at_most: how many there may be.
    """

    def __init__(self, make: Callable[[int], Sequence[Any]], *, at_most: int) -> None:
        self._make, self._at_most = make, at_most
        self._made = list(make(1))
        self._idle = list(self._made)
        self._may_grow = at_most > 1
        self._changed = threading.Condition()

    @contextmanager
    def lent(self) -> Iterator[Any]:
        """A request for one call; of those that are free the one that came back last.

        Raises:
            ValueError: all were closed.
        """
        request = self._take()
        try:
            yield request
        finally:
            with self._changed:
                if any(request is each for each in self._made):  # else there are others now
                    self._idle.append(request)
                    self._changed.notify()

    def close(self) -> None:
        """Frees the requests; those that are lent when their calls end."""
        with self._changed:
            self._made, self._idle, self._may_grow = [], [], False
            self._changed.notify_all()

    def _take(self) -> Any:
        with self._changed:
            self._changed.wait_for(lambda: self._idle or self._may_grow or not self._made)
            if not self._made:
                raise ValueError("the session is closed")
            if self._idle:
                return self._idle.pop()
            self._may_grow = False
        self._grow()
        return self._take()

    def _grow(self) -> None:
        """Puts as many as there may be in the place of the one, whose call ends undisturbed."""
        try:
            made = list(self._make(self._at_most))
        except BaseException:
            with self._changed:
                self._may_grow = bool(self._made)
                self._changed.notify_all()
            raise
        with self._changed:
            if self._made:  # else they were closed meanwhile
                self._made, self._idle = made, list(made)
            self._changed.notify_all()
