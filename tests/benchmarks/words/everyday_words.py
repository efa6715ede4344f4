"""Words as two readers could have judged them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.words.everyday import EverydayWord, Judgement

Lists = tuple[Sequence[str], Sequence[str]]
"""What a reader says means the same, and what may answer."""

NONE: Lists = ((), ())


def judged(word: str, first: Lists, second: Lists | None = None, **more: Any) -> EverydayWord:
    """A word; the second reader agrees unless told otherwise, and empty lists are none."""
    readers = [
        Judgement(same=tuple(same), acceptable=tuple(others), none=not (same or others))
        for same, others in (first, first if second is None else second)
    ]
    own = {"topic": "street", "kind": "noun", "half": "seen", **more}
    return EverydayWord(word=word, readers=tuple(readers), **own)
