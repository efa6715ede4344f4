"""Finds the fewest of a graph's layers that must stay in float."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from export.graphs import Arrays
from samclip_sdk.errors import VerificationError

Built = TypeVar("Built")


@dataclass(frozen=True)
class Found(Generic[Built]):
    """A graph with as many layers in int8 as are accepted.

    Attributes:
        built: the graph.
        in_int8: the names of its layers in int8.
        worst_first: the names of all layers, the one that costs most first; empty if none had to
            stay in float.
    """

    built: Built
    in_int8: tuple[str, ...]
    worst_first: tuple[str, ...]


def most_in_int8(
    layers: Sequence[str],
    *,
    graph: str,
    build: Callable[[Sequence[str]], Built],
    refuse: Callable[[Built], str | None],
    run: Callable[[Built], Sequence[Arrays]],
    expected: Callable[[], Sequence[Arrays]],
    worst_first: Sequence[str],
) -> Found[Built]:
    """Finds a graph with as many layers in int8 as the caller accepts.

    Args:
        layers: the names of the layers.
        graph: the graph's name, for messages.
        build: makes the graph with these layers in int8.
        refuse: returns the reason why a graph is refused, or None.
        run: runs a graph on the feeds by which the layers are compared.
        expected: runs the graph in float on them.
        worst_first: the order in which layers stay in float, if it is known; empty if it is to be
            measured.

    Raises:
        VerificationError: the graph is refused even if all but one of its layers stay in float.
    """
    whole = build(layers)
    refusal = refuse(whole)
    if refusal is None:
        return Found(whole, in_int8=tuple(layers), worst_first=())
    if not worst_first:
        wanted = expected()
        errors = {name: _error(run(build([name])), expected=wanted) for name in layers}
        worst_first = sorted(layers, key=errors.__getitem__, reverse=True)
    built, count = fewest_in_float(
        worst_first, graph=graph, build=build, refuse=refuse, refusal=refusal
    )
    return Found(built, in_int8=tuple(worst_first[count:]), worst_first=tuple(worst_first))


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
    index = bisect.bisect_left(counts, True, key=accepted)
    if index == len(counts):
        raise VerificationError(
            f"{graph} cannot be int8, not even with all but one of its layers in float: {refusal}; "
            f"{worst_first[0]} costs most"
        )
    return build(worst_first[counts[index] :]), counts[index]


def _error(found: Sequence[Arrays], *, expected: Sequence[Arrays]) -> float:
    """The root of the mean squared error, relative to the output's own; the largest of outputs."""
    errors: list[float] = []
    for name in expected[0]:
        lost = sum(
            float(np.square(np.subtract(mine[name], theirs[name]), dtype=np.float64).sum())
            for mine, theirs in zip(found, expected, strict=True)
        )
        power = sum(float(np.square(each[name], dtype=np.float64).sum()) for each in expected)
        errors.append((lost / max(power, 1e-30)) ** 0.5)
    return max(errors)
