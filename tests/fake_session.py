"""A session without a runtime."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from samclip_sdk.bundle.graph_spec import GraphSpec, TensorSpec
from samclip_sdk.runtimes.session import Arrays
from samclip_sdk.runtimes.tensor_checks import check_feed, check_outputs


class FakeSession:
    """A session that keeps a graph's contract, with outputs that have no meaning.

    Args:
        spec: the graph's contract.
        answer: feed -> outputs by name. Outputs that it does not return, or all outputs if it is
            None, are noise that depends on the feed only.

    Attributes:
        feeds: the feeds of `run`, in order.
    """

    def __init__(
        self, spec: GraphSpec, *, answer: Callable[[Arrays], Arrays] | None = None
    ) -> None:
        self.inputs, self.outputs = spec.inputs, spec.outputs
        self.feeds: list[Arrays] = []
        self._answer = answer
        self._closed = False

    def run(self, feed: Arrays) -> dict[str, NDArray[np.generic]]:
        """Records the feed and returns the outputs; see `Session.run`."""
        if self._closed:
            raise ValueError("the session is closed")
        axes = check_feed(feed, inputs=self.inputs)
        self.feeds.append(dict(feed))
        outputs = {} if self._answer is None else dict(self._answer(feed))
        rng = np.random.default_rng(_digest(feed))
        for spec in self.outputs:
            shape = [axes[axis] if isinstance(axis, str) else axis for axis in spec.shape]
            outputs.setdefault(spec.name, _noise(spec, shape=shape, rng=rng))
        return check_outputs(outputs, specs=self.outputs, axes=axes)

    def close(self) -> None:
        """Makes further runs fail."""
        self._closed = True


def _digest(feed: Arrays) -> list[int]:
    digest = hashlib.sha256()
    for name in sorted(feed):
        digest.update(name.encode() + np.ascontiguousarray(feed[name]).tobytes())
    return list(digest.digest())


def _noise(spec: TensorSpec, *, shape: list[int], rng: np.random.Generator) -> NDArray[np.generic]:
    return rng.standard_normal(shape).astype(np.dtype(spec.dtype))
