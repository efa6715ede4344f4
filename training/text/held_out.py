"""Which names and phrases are never learned from: those that their own hash says."""

from __future__ import annotations

import hashlib

_STEPS = 2**32


def is_held_out(name: str, *, share: float) -> bool:
    """Whether a name belongs to the `share` (0 to 1) that is held out, however it is spelled.

    The answer depends on the name alone, but for case and spaces: it is the same in every run, and
    whoever is held out at one share is so at every larger one.
    """
    return hash_place(name) < share


def hash_place(name: str) -> float:
    """Where the hash of a name lies, from 0 to below 1: the share above which it is held out."""
    spelled = " ".join(name.lower().split())
    digest = hashlib.sha256(spelled.encode()).digest()
    return int.from_bytes(digest[:4], "big") / _STEPS
