"""The device memory that the TensorRT sessions of a model share."""

from __future__ import annotations

import functools
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samclip_sdk.runtimes.tensorrt.cuda import Cuda, CudaRuntime, DeviceMemoryError, import_cudart

_SMALLEST_BYTES = 256


@dataclass(frozen=True)
class DeviceBuffer:
    """A piece of device memory.

    Attributes:
        address: the address on the device.
        capacity_bytes: the size, at least the requested one.
    """

    address: int
    capacity_bytes: int


class DeviceMemory:
    """The buffers of one GPU and the one stream that orders all work on them.

    A model's sessions share it and attach to it. When the last session detaches, all buffers and
    the stream are freed. A caller of any other method must hold `lock`.

    Args:
        cuda: the GPU.

    Attributes:
        cuda: the GPU.
        lock: held during a run; reentrant.
    """

    def __init__(self, cuda: Cuda) -> None:
        self.cuda = cuda
        self.lock = threading.RLock()
        self._sessions = 0
        self._stream: int | None = None
        self._unused: dict[int, list[DeviceBuffer]] = {}

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
        """Counts a session out; the last one frees the buffers and the stream."""
        with self.lock:
            self._sessions -= 1
            if self._sessions:
                return
            self._free_unused()
            if self._stream is not None:
                self.cuda.destroy_stream(self._stream)
                self._stream = None

    def take(self, size_bytes: int) -> DeviceBuffer:
        """Takes a buffer of at least that size; `give` returns it.

        Raises:
            DeviceMemoryError: the GPU's memory is full, even without the unused buffers.
        """
        # Powers of two, so that a buffer is reused when the number of prompts changes.
        capacity = max(_SMALLEST_BYTES, 1 << (size_bytes - 1).bit_length())
        unused = self._unused.get(capacity)
        if unused:
            return unused.pop()
        try:
            return DeviceBuffer(self.cuda.allocate(capacity), capacity)
        except DeviceMemoryError:
            self._free_unused()
            return DeviceBuffer(self.cuda.allocate(capacity), capacity)

    def give(self, buffer: DeviceBuffer) -> None:
        """Returns a buffer; the stream finishes its work on it before the next use."""
        self._unused.setdefault(buffer.capacity_bytes, []).append(buffer)

    def upload(self, array: NDArray[np.generic]) -> DeviceBuffer:
        """Copies a C-contiguous array, which must live until `synchronize`, into a new buffer."""
        buffer = self.take(array.nbytes)
        self.cuda.upload(array, address=buffer.address, stream=self.stream)
        return buffer

    def download(
        self, buffer: DeviceBuffer, *, dtype: np.dtype[Any], shape: Sequence[int]
    ) -> NDArray[np.generic]:
        """Copies a buffer into a new array; it is complete after `synchronize`."""
        array: NDArray[np.generic] = np.empty(shape, dtype=dtype)
        self.cuda.download(array, address=buffer.address, stream=self.stream)
        return array

    def synchronize(self) -> None:
        """Waits until all copies and runs are done."""
        self.cuda.synchronize(self.stream)

    def _free_unused(self) -> None:
        """Frees the unused buffers."""
        if self._stream is not None:
            self.synchronize()
        for buffers in self._unused.values():
            while buffers:
                self.cuda.free(buffers.pop().address)


@functools.cache
def shared_memory() -> DeviceMemory:
    """The device memory of this process, for sessions that get no other.

    Raises:
        RuntimeMissingError: cuda-python is not installed, or there is no GPU.
    """
    return DeviceMemory(CudaRuntime(import_cudart()))
