"""Names and phrases that are never learned from, chosen by their own hash."""

from __future__ import annotations

import hashlib

_STEPS = 2**32


def is_held_out(name: str, *, share: float) -> bool:
    """Returns whether a name belongs to the `share` (0 to 1) that is held out, in any spelling.

    The answer depends on the name alone, but for case and spaces: it is the same in every run, and
    whoever is held out at one share is so at every larger one.
    """
    spelled = " ".join(name.lower().split())
    digest = hashlib.sha256(spelled.encode()).digest()
    return int.from_bytes(digest[:4], "big") / _STEPS < share
