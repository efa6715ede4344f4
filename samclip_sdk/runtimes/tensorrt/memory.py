"""Device memory that the TensorRT sessions of a model share, so that tensors stay on the GPU."""

from __future__ import annotations

import functools
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from samclip_sdk.runtimes.device_copies import REMEMBERED_BYTES, Array, DeviceCopies
from samclip_sdk.runtimes.tensorrt.cuda import Cuda, CudaRuntime, DeviceMemoryError, import_cudart

_SMALLEST_BYTES = 256


@dataclass(frozen=True)
class DeviceBuffer:
    """A piece of device memory.

    Attributes:
        address: on the device.
        capacity_bytes: at least what was asked for.
    """

    address: int
    capacity_bytes: int


@dataclass(frozen=True)
class _Typed:
    """A buffer, and the type of the values in it."""

    buffer: DeviceBuffer
    dtype: np.dtype[Any]


class DeviceMemory:
    """Buffers of one GPU and the one stream that orders all work on them.

    A model's sessions share it and attach themselves to it; when the last one detaches, all that it
    holds is freed. Whoever uses the other methods holds `lock`.

    Args:
        cuda: the GPU.
        remembered_bytes: how much may be kept for arrays that are still alive, before the one that
            was not used for longest is forgotten.

    Attributes:
        cuda: the GPU.
        lock: held during a run; reentrant.
    """

    def __init__(self, cuda: Cuda, *, remembered_bytes: int = REMEMBERED_BYTES) -> None:
        self.cuda = cuda
        self.lock = threading.RLock()
        self._sessions = 0
        self._stream: int | None = None
        self._unused: dict[int, list[DeviceBuffer]] = {}
        self._copies: DeviceCopies[_Typed] = DeviceCopies(
            limit_bytes=remembered_bytes, release=lambda copy: self.give(copy.buffer)
        )

    @property
    def stream(self) -> int:
        """The stream's handle."""
        if self._stream is None:
            self._stream = self.cuda.create_stream()
        return self._stream

    def attach(self) -> None:
        """Counts a session in."""
        with self.lock:
            self._sessions += 1

    def detach(self) -> None:
        """Counts a session out; the last one takes everything with it."""
        with self.lock:
            self._sessions -= 1
            if self._sessions:
                return
            self._forget_all()
            if self._stream is not None:
                self.cuda.destroy_stream(self._stream)
                self._stream = None

    def take(self, size_bytes: int) -> DeviceBuffer:
        """Returns a buffer of at least that size, for `give` or `remember`.

        Raises:
            DeviceMemoryError: the GPU's memory is full, even without the unused buffers.
        """
        self._copies.sweep()
        # Powers of two, so that a buffer fits again when the number of prompts changes.
        capacity = max(_SMALLEST_BYTES, 1 << (size_bytes - 1).bit_length())
        unused = self._unused.get(capacity)
        if unused:
            return unused.pop()
        try:
            return DeviceBuffer(self.cuda.allocate(capacity), capacity)
        except DeviceMemoryError:
            self._forget_unused()
            return DeviceBuffer(self.cuda.allocate(capacity), capacity)

    def give(self, buffer: DeviceBuffer) -> None:
        """Takes a buffer back; work on it that the stream still has to do comes first."""
        self._unused.setdefault(buffer.capacity_bytes, []).append(buffer)

    def upload(self, array: Array) -> DeviceBuffer:
        """Copies a C-contiguous array, which must live until `synchronize`, into a new buffer."""
        buffer = self.take(array.nbytes)
        self.cuda.upload(array, address=buffer.address, stream=self.stream)
        return buffer

    def download(
        self, buffer: DeviceBuffer, *, dtype: np.dtype[Any], shape: Sequence[int]
    ) -> Array:
        """Copies a buffer into a new array; it is complete after `synchronize`."""
        array: Array = np.empty(shape, dtype=dtype)
        self.cuda.download(array, address=buffer.address, stream=self.stream)
        return array

    def synchronize(self) -> None:
        """Waits until all copies and runs are done."""
        self.cuda.synchronize(self.stream)

    def remember(self, array: Array, *, buffer: DeviceBuffer, dtype: np.dtype[Any]) -> None:
        """Keeps a buffer for as long as an array that holds the same lives, memory permitting.

        Args:
            array: from `seal`.
            buffer: from `take`; it is the memory's again.
            dtype: of the values in the buffer, which are the array's.
        """
        self._copies.remember(array, _Typed(buffer, dtype), size_bytes=buffer.capacity_bytes)

    def find(self, array: Array, *, dtype: np.dtype[Any]) -> DeviceBuffer | None:
        """The buffer that holds an array's values, if there is one; it stays the memory's.

        Args:
            array: any; views of a remembered array count if they show all of it, in order.
            dtype: that the values must have on the device.
        """
        found = self._copies.find(array)
        return found.buffer if found is not None and found.dtype == dtype else None

    def _forget_unused(self) -> None:
        """Frees the buffers that hold nothing; a remembered one may be an input of this run."""
        if self._stream is not None:
            self.synchronize()
        for buffers in self._unused.values():
            while buffers:
                self.cuda.free(buffers.pop().address)

    def _forget_all(self) -> None:
        """Frees everything."""
        self._copies.clear()
        self._forget_unused()


@functools.cache
def shared_memory() -> DeviceMemory:
    """The memory of this process, for sessions that are given no other.

    Raises:
        RuntimeMissingError: cuda-python is not installed, or there is no GPU.
    """
    return DeviceMemory(CudaRuntime(import_cudart()))
