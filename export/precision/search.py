"""Finds how many of a graph's layers must stay in float."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Sequence
from typing import TypeVar

from samclip_sdk.errors import VerificationError

Built = TypeVar("Built")


def fewest_in_float(
    worst_first: Sequence[str],
    *,
    graph: str,
    build: Callable[[Sequence[str]], Built],
    refuse: Callable[[Built], str | None],
    refusal: str,
) -> tuple[Built, int]:
    """Finds, by bisection, how many of the worst layers must stay in float.

    Args:
        worst_first: the layers, the one that costs most first.
        graph: the graph's name, for messages.
        build: makes the graph with these layers in int8.
        refuse: returns the reason why a graph is refused, or None.
        refusal: the reason why the graph without any layer in float is refused.

    Returns:
        The accepted graph, and the number of layers in float.

    Raises:
        VerificationError: the graph is refused even if all but one of its layers stay in float.
    """

    def accepted(count: int) -> bool:
        nonlocal refusal
        reason = refuse(build(worst_first[count:]))
        refusal = reason or refusal
        return reason is None

    counts = range(1, len(worst_first))
    place = bisect.bisect_left(counts, True, key=accepted)
    if place == len(counts):
        raise VerificationError(
            f"{graph} cannot be int8, not even with all but one of its layers in float: {refusal}; "
            f"{worst_first[0]} costs most"
        )
    return build(worst_first[counts[place] :]), counts[place]
