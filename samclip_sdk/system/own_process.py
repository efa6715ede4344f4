"""What one process uses alone: a child that is forked from it has none of its threads."""

from __future__ import annotations

import ctypes
import os
import weakref

from samclip_sdk.errors import SamClipError


class OwnProcess:
    """The process that loaded a model. No other may use it.

    A lock that another thread held at the fork is never released in the child, and the threads
    behind a runtime stay with the parent.

    Args:
        holds: what waits for its threads when it is freed. In a forked child, which would wait for
            ever, it is never freed.
    """

    def __init__(self, *, holds: object = None) -> None:
        self._id = os.getpid()
        self._holds = holds
        _ALL.add(self)

    @property
    def is_this(self) -> bool:
        """Whether this is that process, and no child of it."""
        return os.getpid() == self._id

    def check(self) -> None:
        """Refuses a forked child; called before any lock is taken.

        Raises:
            SamClipError: this is one.
        """
        if not self.is_this:
            raise SamClipError(
                "the model was loaded before this process was forked, and does not survive that: "
                'load the model in each process, which multiprocessing starts by "spawn"'
            )


_ALL: weakref.WeakSet[OwnProcess] = weakref.WeakSet()


def _never_free() -> None:
    """Counts a reference that nobody gives back, not even when Python ends."""
    for each in list(_ALL):
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(each))


if hasattr(os, "register_at_fork"):  # Windows has no fork.
    os.register_at_fork(after_in_child=_never_free)
