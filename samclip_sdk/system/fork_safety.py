"""What a forked child must renew: a lock that another thread held is never released in it."""

from __future__ import annotations

import ctypes
import os
import weakref
from typing import Protocol


class Renewed(Protocol):
    """Holds something that does not survive a fork."""

    def renew(self) -> None:
        """Makes its locks anew; called in a forked child while that has one thread."""


_OWNERS: weakref.WeakSet[Renewed] = weakref.WeakSet()


def renew_in_children(owner: Renewed) -> None:
    """Has `owner.renew` called in every child that is forked while the owner lives."""
    _OWNERS.add(owner)


def never_free(value: object) -> None:
    """Keeps an object until the process ends, and beyond Python's own clean-up.

    For what waits for its threads when it is freed: a forked child does not have them, and would
    wait for ever.
    """
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(value))


def _renew_all() -> None:
    for owner in list(_OWNERS):
        owner.renew()


if hasattr(os, "register_at_fork"):  # Windows has no fork.
    os.register_at_fork(after_in_child=_renew_all)
