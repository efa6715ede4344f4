"""A session of artifacts with fixed shapes: any number of prompts for the caller, call by call."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from samclip_sdk.bundle.graph_spec import GraphSpec
from samclip_sdk.runtimes.buckets import Buckets, Lengths
from samclip_sdk.runtimes.session import Arrays
from samclip_sdk.runtimes.tensor_checks import check_feed, check_outputs


class BucketSession(ABC):
    """A graph of some buckets, see `Buckets`. Calls of several threads run one after another.

    Args:
        spec: the graph's contract.
        lengths: the lengths of each bucket.
        where: the owner of the buckets, for messages: "this LiteRT file".
    """

    def __init__(self, spec: GraphSpec, *, lengths: Sequence[Lengths], where: str) -> None:
        self.inputs, self.outputs = spec.inputs, spec.outputs
        self._buckets = Buckets(spec, lengths=lengths, where=where)
        self._turn = threading.Lock()
        self._closed = False

    def run(self, feed: Arrays) -> dict[str, NDArray[np.generic]]:
        """Runs the graph; see `Session.run`.

        Raises:
            PromptError: an axis that is not cut is longer than in any bucket, for instance with too
                many points in a prompt.
        """
        axes = check_feed(feed, inputs=self.inputs)
        with self._turn:
            if self._closed:
                raise ValueError("the session is closed")
            results = self._buckets.run(feed, axes=axes, call=self._call)
        return check_outputs(results, specs=self.outputs, axes=axes)

    def close(self) -> None:
        """Frees the graph."""
        with self._turn:
            self._closed = True
            self._free()

    @abstractmethod
    def _call(self, number: int, feed: Arrays) -> Arrays:
        """Runs a bucket, by its number, on a feed of exactly its lengths."""

    @abstractmethod
    def _free(self) -> None:
        """Lets go of what the runtime holds."""
