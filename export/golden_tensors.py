"""The arrays of a bundle's goldens in the making, each stored once."""

from __future__ import annotations

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

from samclip_sdk.device.goldens.schema import Expected, Sampled

_MAX_VALUES = 2048


class GoldenTensors:
    """Stores arrays by key: floats in fp16, and of outputs only some values.

    Args:
        max_error: that a graph in fp32 may have.
    """

    def __init__(self, *, max_error: float) -> None:
        self.max_error = max_error
        self._tensors: dict[str, NDArray[np.generic]] = {}

    def content(self) -> bytes:
        """The content of `golden/tensors.safetensors`."""
        return safetensors.numpy.save(self._tensors)

    def expect(
        self, output: NDArray[np.generic], *, key: str, max_error: float | None = None
    ) -> Expected:
        """Stores some values of an output; with the error of one graph, if none is given."""
        sampled = self.sample(output, key=key)
        return Expected(
            tensor=sampled.tensor, step=sampled.step, max_error=max_error or self.max_error
        )

    def sample(self, output: NDArray[np.generic], *, key: str) -> Sampled:
        """Stores every so-many-th value of an array."""
        # An odd step visits every column and channel of maps whose sides are powers of two.
        step = max(1, output.size // _MAX_VALUES) | 1
        return Sampled(tensor=self.keep(output.reshape(-1)[::step], key=key), step=step)

    def keep(self, array: NDArray[np.generic], *, key: str) -> str:
        """Stores an array as `key` unless it is there already; returns the key it has."""
        stored = np.ascontiguousarray(storable(array))
        for other, kept in self._tensors.items():
            if kept.dtype == stored.dtype and np.array_equal(kept, stored):
                return other
        self._tensors[key] = stored
        return key


def storable(array: NDArray[np.generic]) -> NDArray[np.generic]:
    """Floats as fp16, anything else as it is."""
    return array.astype(np.float16) if array.dtype == np.float32 else array


def widened(array: NDArray[np.generic]) -> NDArray[np.generic]:
    """What a reader has of an array that was stored."""
    return array.astype(np.float32) if array.dtype == np.float16 else array
