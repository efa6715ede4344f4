"""Collects the arrays of a new bundle's goldens, each stored once."""

from __future__ import annotations

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

from samclip_sdk.device.goldens.schema import Expected, Sampled

_MAX_VALUES = 2048


class GoldenTensors:
    """Stores arrays by key: floats in fp16, and only some values of an output.

    Args:
        max_error: the largest accepted error of a graph in fp32.
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
        """Stores some values of an output; `max_error` is that of one graph if None."""
        sampled = self.sample(output, key=key)
        return Expected(
            tensor=sampled.tensor, step=sampled.step, max_error=max_error or self.max_error
        )

    def sample(self, output: NDArray[np.generic], *, key: str) -> Sampled:
        """Stores every `step`-th value of an array, with a step that depends on its size."""
        # An odd step visits every column and channel of maps whose sides are powers of two.
        step = max(1, output.size // _MAX_VALUES) | 1
        return Sampled(tensor=self.keep(output.reshape(-1)[::step], key=key), step=step)

    def keep(self, array: NDArray[np.generic], *, key: str) -> str:
        """Stores an array under `key` unless an equal one is stored; returns the array's key."""
        stored = np.ascontiguousarray(storable(array))
        for other, kept in self._tensors.items():
            if kept.dtype == stored.dtype and np.array_equal(kept, stored):
                return other
        self._tensors[key] = stored
        return key


def storable(array: NDArray[np.generic]) -> NDArray[np.generic]:
    """Converts float32 to float16; any other array stays unchanged."""
    return array.astype(np.float16) if array.dtype == np.float32 else array


def widened(array: NDArray[np.generic]) -> NDArray[np.generic]:
    """Converts a stored array as `read_goldens` does: float16 to float32."""
    return array.astype(np.float32) if array.dtype == np.float16 else array
