"""Device memory that the TensorRT sessions of a model share, so that tensors stay on the GPU.

A session hands its outputs out as numpy arrays. The memory remembers which device buffer each of
them was copied from, and when that very array is fed to another session its upload is skipped:
image_tokens go from the image_encoder to the clip_head, image_embeddings to the mask_decoder for
every prompt, and the prompt_encoder's dense_embeddings to the mask_decoder.

This cannot go stale: the arrays are read-only in a way that numpy cannot undo, so what is on the
device is what they hold for as long as they live.
"""

from __future__ import annotations

import functools
import threading
import weakref
from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samclip_sdk.runtimes.trt_cuda import (
    Cuda,
    CudaRuntime,
    DeviceMemoryError,
    import_cudart,
)

Array = NDArray[np.generic]

_REMEMBERED_BYTES = 256 << 20  # an image of ViT-B at 1024 px and a full batch of its prompts
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
class _Remembered:
    """The device buffer that holds what the read-only array behind `root` holds."""

    root: weakref.ref[Array]
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

    def __init__(self, cuda: Cuda, *, remembered_bytes: int = _REMEMBERED_BYTES) -> None:
        self.cuda = cuda
        self.lock = threading.RLock()
        self._limit_bytes = remembered_bytes
        self._sessions = 0
        self._stream: int | None = None
        self._unused: dict[int, list[DeviceBuffer]] = {}
        self._remembered: OrderedDict[int, _Remembered] = OrderedDict()
        # Filled by the garbage collector at any moment and in any thread, hence no work there.
        self._dead: deque[int] = deque()

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
        self._sweep()
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
        self._sweep()
        root = _root(array)
        key = id(root)
        watch = weakref.ref(root, lambda _: self._dead.append(key))
        self._remembered[key] = _Remembered(watch, buffer, dtype)
        held_bytes = sum(each.buffer.capacity_bytes for each in self._remembered.values())
        while held_bytes > self._limit_bytes:
            _, oldest = self._remembered.popitem(last=False)
            held_bytes -= oldest.buffer.capacity_bytes
            self.give(oldest.buffer)

    def find(self, array: Array, *, dtype: np.dtype[Any]) -> DeviceBuffer | None:
        """The buffer that holds an array's values, if there is one; it stays the memory's.

        Args:
            array: any; views of a remembered array count if they show all of it, in order.
            dtype: that the values must have on the device.
        """
        self._sweep()
        root = _root(array)
        found = self._remembered.get(id(root))
        if found is None or found.root() is not root or found.dtype != dtype:
            return None
        same_bytes = (
            array.dtype == root.dtype
            and array.nbytes == root.nbytes
            and array.ctypes.data == root.ctypes.data
            and array.flags.c_contiguous
        )
        if not same_bytes:
            return None
        self._remembered.move_to_end(id(root))
        return found.buffer

    def _sweep(self) -> None:
        """Takes back the buffers of arrays that are gone."""
        while self._dead:
            key = self._dead.popleft()
            # Another array may have the same id by now.
            if key in self._remembered and self._remembered[key].root() is None:
                self.give(self._remembered.pop(key).buffer)

    def _forget_unused(self) -> None:
        """Frees the buffers that hold nothing; a remembered one may be an input of this run."""
        if self._stream is not None:
            self.synchronize()
        for buffers in self._unused.values():
            while buffers:
                self.cuda.free(buffers.pop().address)

    def _forget_all(self) -> None:
        """Frees everything."""
        self._dead.clear()
        while self._remembered:
            _, each = self._remembered.popitem()
            self.give(each.buffer)
        self._forget_unused()


def seal(array: Array) -> Array:
    """Returns the same memory as an array that nobody can make writable.

    numpy lets the owner of an array clear its read-only flag; here the owner is a read-only buffer,
    and numpy refuses.

    Args:
        array: C-contiguous and not empty; no other reference to it may be kept.
    """
    flat = array.reshape(-1).view(np.uint8)
    sealed: Array = np.frombuffer(flat.data.toreadonly(), dtype=array.dtype)
    return sealed.reshape(array.shape)


@functools.cache
def shared_memory() -> DeviceMemory:
    """The memory of this process, for sessions that are given no other.

    Raises:
        RuntimeMissingError: cuda-python is not installed, or there is no GPU.
    """
    return DeviceMemory(CudaRuntime(import_cudart()))


def _root(array: Array) -> Array:
    """The array that an array, if it is a view, was made from."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array
