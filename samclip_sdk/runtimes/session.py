"""The Protocol of a graph that is ready to run, and the checks of its answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from samclip_sdk.bundle.graph_spec import TensorSpec
from samclip_sdk.errors import RunError, SamClipError, VerificationError, one_line

Arrays: TypeAlias = "Mapping[str, NDArray[np.generic]]"


class Session(Protocol):
    """One graph, ready to run. A session never preprocesses, downloads or compiles."""

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """The inputs of `run`."""

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """The outputs of `run`."""

    def run(self, feed: Arrays) -> dict[str, NDArray[np.generic]]:
        """Runs the graph.

        Args:
            feed: exactly the graph's inputs by name, in the contract's dtypes and shapes.

        Returns:
            The outputs by name, in the contract's dtypes and shapes.

        Raises:
            ValueError: the feed does not match `inputs`, or the session is closed.
        """

    def close(self) -> None:
        """Frees the session's resources; it may be called again."""


def run_graph(session: Session, feed: Arrays, *, graph: str) -> dict[str, NDArray[np.float32]]:
    """Runs a graph for an answer; the runtime's error becomes one line.

    Args:
        session: the graph's session.
        feed: see `Session.run`.
        graph: the graph's key, for messages.

    Returns:
        The outputs by name, float32; all numbers are finite.

    Raises:
        RunError: the runtime failed.
        VerificationError: an output holds NaN or infinity.
        ValueError: the feed does not match the session's inputs, or the session is closed.
    """
    try:
        outputs = session.run(feed)
    except (SamClipError, ValueError):
        raise
    except Exception as error:  # the runtimes' exceptions have no common base class
        raise run_failure(graph, error) from error
    check_finite(outputs, graph=graph)
    return {name: np.asarray(value, dtype=np.float32) for name, value in outputs.items()}


def run_failure(what: str, error: Exception) -> RunError:
    """Makes a RunError from any runtime's own error."""
    reason = one_line(error) or type(error).__name__
    return RunError(
        f"{what} failed as it ran: {reason}; nothing is answered. Ask again; if it fails again, "
        "the device is full or gone: load the model in a new process, or on another device"
    )


def check_finite(outputs: Arrays, *, graph: str) -> None:
    """Refuses outputs that are not finite.

    Raises:
        VerificationError: an output holds NaN or infinity.
    """
    for name, values in outputs.items():
        if not np.isfinite(values).all():
            raise VerificationError(
                f"{name} of {graph} holds NaN or infinity: run `samclip verify`; if it passes, "
                "what the graph was given is damaged, a saved embedding for instance"
            )
