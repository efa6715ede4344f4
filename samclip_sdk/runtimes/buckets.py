"""Runs any number of rows on graphs with a few fixed numbers of rows: cuts, pads and trims.

A bucket is an artifact with one length for each symbolic axis. If one axis is the first axis of
every output, its rows do not depend on one another, and it is cut into calls. Any other axis is
padded only. An answer does not depend on the buckets that computed it. `Buckets.kt` of
`examples/android/samclip-core` repeats these rules.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from samclip_sdk.bundle.contract import PADDING
from samclip_sdk.bundle.graph_spec import GraphSpec, TensorSpec
from samclip_sdk.errors import PromptError
from samclip_sdk.runtimes.session import Arrays

Lengths = Mapping[str, int]
"""Symbolic axis -> its length."""


@dataclass(frozen=True)
class BucketCall:
    """A part of a feed that one call computes.

    Attributes:
        bucket: the number of the bucket.
        feed: the part, not padded.
        axes: the part's lengths.
    """

    bucket: int
    feed: dict[str, NDArray[np.generic]]
    axes: Lengths


class Buckets:
    """The buckets of one graph.

    Args:
        spec: the graph's contract.
        lengths: the lengths of each bucket; the greatest lengths if it takes shorter feeds as well.
        where: the owner of the buckets, for messages: "this engine".
    """

    def __init__(self, spec: GraphSpec, *, lengths: Sequence[Lengths], where: str) -> None:
        self._spec, self._lengths, self._where = spec, lengths, where
        self._cut_axis = _cut_axis(spec)

    def run(
        self, feed: Arrays, *, axes: Lengths, call: Callable[[int, Arrays], Arrays]
    ) -> dict[str, NDArray[np.generic]]:
        """Runs a graph on a feed of any length.

        Args:
            feed: the graph's feed, checked.
            axes: the feed's lengths, from `check_feed`.
            call: runs a bucket, by its number, on a feed of exactly the bucket's lengths.

        Returns:
            The outputs in the feed's own lengths.

        Raises:
            PromptError: an axis that is not cut is longer than in any bucket.
        """
        return join(
            [
                self._trimmed(call(part.bucket, self.pad(part)), axes=part.axes)
                for part in self.calls(feed, axes=axes)
            ]
        )

    def calls(self, feed: Arrays, *, axes: Lengths) -> Iterator[BucketCall]:
        """Cuts a feed into calls; at least one, even for no rows.

        Args:
            feed: the graph's feed, checked.
            axes: the feed's lengths.

        Raises:
            PromptError: an axis that is not cut is longer than in any bucket.
        """
        fitting = self._fitting(axes)
        axis = self._cut_axis
        if axis is None:
            yield BucketCall(fitting[0], dict(feed), axes)
            return
        start, count = 0, axes[axis]
        while True:
            bucket = self._next(fitting, left=count - start)
            rows = min(count - start, self._lengths[bucket][axis])
            yield BucketCall(bucket, self._rows(feed, start, start + rows), {**axes, axis: rows})
            start += rows
            if start == count:
                return

    def pad(self, part: BucketCall) -> dict[str, NDArray[np.generic]]:
        """Pads a part of a feed to the lengths of its bucket."""
        lengths = self._lengths[part.bucket]
        return {
            spec.name: _pad(part.feed[spec.name], spec=spec, lengths=lengths)
            for spec in self._spec.inputs
        }

    def _fitting(self, axes: Lengths) -> list[int]:
        """The buckets whose uncut axes are long enough, the smallest first."""
        uncut = {axis: length for axis, length in axes.items() if axis != self._cut_axis}
        for axis, length in uncut.items():
            longest = max(lengths[axis] for lengths in self._lengths)
            if length > longest:
                raise PromptError(
                    f"{axis} is {length}, and {self._where} takes at most {longest}; give fewer"
                )
        fitting = [
            bucket
            for bucket, lengths in enumerate(self._lengths)
            if all(lengths[axis] >= length for axis, length in uncut.items())
        ]
        return sorted(fitting, key=lambda bucket: sorted(self._lengths[bucket].items()))

    def _next(self, fitting: Sequence[int], *, left: int) -> int:
        """The smallest bucket that holds all remaining rows, or else the largest bucket."""
        assert self._cut_axis is not None
        holding = (each for each in fitting if self._lengths[each][self._cut_axis] >= left)
        return next(holding, fitting[-1])

    def _rows(self, feed: Arrays, start: int, stop: int) -> dict[str, NDArray[np.generic]]:
        return {
            spec.name: feed[spec.name][start:stop]
            if spec.shape[0] == self._cut_axis
            else feed[spec.name]
            for spec in self._spec.inputs
        }

    def _trimmed(self, outputs: Arrays, *, axes: Lengths) -> dict[str, NDArray[np.generic]]:
        return {
            spec.name: np.asarray(outputs[spec.name])[tuple(map(slice, fixed_shape(spec, axes)))]
            for spec in self._spec.outputs
        }


def join(parts: Sequence[Arrays]) -> dict[str, NDArray[np.generic]]:
    """Joins the outputs of a feed's calls, in order, into those of one call."""
    if len(parts) == 1:
        return dict(parts[0])
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def fixed_shape(spec: TensorSpec, axes: Lengths) -> tuple[int, ...]:
    """A tensor's shape if its symbolic axes have the lengths `axes`."""
    return tuple(axes[axis] if isinstance(axis, str) else axis for axis in spec.shape)


def _cut_axis(spec: GraphSpec) -> str | None:
    """The symbolic axis that is the first axis of every output; None if there is none."""
    first = {each.shape[0] for each in spec.outputs}
    axis = first.pop() if len(first) == 1 else None
    return axis if isinstance(axis, str) else None


def _pad(array: NDArray[np.generic], *, spec: TensorSpec, lengths: Lengths) -> NDArray[np.generic]:
    """Pads a tensor to a bucket's lengths."""
    shape = fixed_shape(spec, lengths)
    if array.shape == shape:
        return array
    padded = np.full(shape, PADDING.get(spec.name, 0), dtype=array.dtype)
    padded[tuple(map(slice, array.shape))] = array
    return padded
