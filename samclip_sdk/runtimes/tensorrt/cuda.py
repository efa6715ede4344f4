"""The part of CUDA that TensorRT sessions need: one GPU, its memory and streams.

The GPU is CUDA's device 0; the environment variable CUDA_VISIBLE_DEVICES selects another one.
"""

from __future__ import annotations

import importlib
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from samclip_sdk.errors import RuntimeMissingError, SamClipError

_DEVICE = 0
_MEMORY_ALLOCATION = 2  # cudaErrorMemoryAllocation
_MODULES = ("cuda.bindings.runtime", "cuda.cudart")  # the latter until cuda-python 12.6


class DeviceMemoryError(SamClipError):
    """The GPU's memory is full."""


@dataclass(frozen=True)
class Gpu:
    """The GPU that an engine is built for.

    Attributes:
        name: the driver's name of it, "NVIDIA GeForce RTX 4090" for instance.
        compute_capability: "8.9" for instance.
    """

    name: str
    compute_capability: str


class Cuda(Protocol):
    """A GPU. Addresses are on the device; the stream orders its copies.

    Every method raises SamClipError if CUDA reports an error.
    """

    @property
    def gpu(self) -> Gpu:
        """The GPU's name and compute capability."""

    def allocate(self, size_bytes: int) -> int:
        """Allocates memory; returns its address.

        Raises:
            DeviceMemoryError: the GPU's memory is full.
        """

    def free(self, address: int) -> None:
        """Frees memory."""

    def create_stream(self) -> int:
        """Creates a stream; returns its handle."""

    def destroy_stream(self, stream: int) -> None:
        """Destroys a stream."""

    def upload(self, array: NDArray[np.generic], *, address: int, stream: int) -> None:
        """Copies a C-contiguous array to the device; it must live until `synchronize`."""

    def download(self, array: NDArray[np.generic], *, address: int, stream: int) -> None:
        """Fills a C-contiguous array from the device; it is complete after `synchronize`."""

    def synchronize(self, stream: int) -> None:
        """Waits until the stream has done all its work."""


class CudaRuntime:
    """NVIDIA's CUDA runtime; implements `Cuda`.

    Args:
        cudart: cuda-python's binding of the CUDA runtime, from `import_cudart`.

    Raises:
        RuntimeMissingError: there is no usable GPU.
    """

    def __init__(self, cudart: Any) -> None:
        self._cudart = cudart
        try:
            count = self._call("cudaGetDeviceCount")
            if not count:
                raise SamClipError("CUDA counts none")
            properties = self._call("cudaGetDeviceProperties", _DEVICE)
        except SamClipError as error:
            raise RuntimeMissingError(
                f"no NVIDIA GPU is visible: {error}. Where there is one, check its driver "
                "(nvidia-smi), CUDA_VISIBLE_DEVICES, and that cuda-python is not newer than the "
                "driver's CUDA; with CUDA 12, as JetPack 6 has it: "
                'pip install "cuda-python>=12.2,<13"'
            ) from error
        name = properties.name
        self.gpu = Gpu(
            name=(name.decode() if isinstance(name, bytes) else str(name)).rstrip("\0"),
            compute_capability=f"{properties.major}.{properties.minor}",
        )

    def allocate(self, size_bytes: int) -> int:
        """See `Cuda.allocate`."""
        return int(self._call("cudaMalloc", size_bytes))

    def free(self, address: int) -> None:
        """See `Cuda.free`."""
        self._call("cudaFree", address)

    def create_stream(self) -> int:
        """See `Cuda.create_stream`."""
        return int(self._call("cudaStreamCreate"))

    def destroy_stream(self, stream: int) -> None:
        """See `Cuda.destroy_stream`."""
        self._call("cudaStreamDestroy", stream)

    def upload(self, array: NDArray[np.generic], *, address: int, stream: int) -> None:
        """See `Cuda.upload`."""
        kind = self._cudart.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._call("cudaMemcpyAsync", address, array.ctypes.data, array.nbytes, kind, stream)

    def download(self, array: NDArray[np.generic], *, address: int, stream: int) -> None:
        """See `Cuda.download`."""
        kind = self._cudart.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._call("cudaMemcpyAsync", array.ctypes.data, address, array.nbytes, kind, stream)

    def synchronize(self, stream: int) -> None:
        """See `Cuda.synchronize`."""
        self._call("cudaStreamSynchronize", stream)

    def _call(self, function: str, *arguments: Any) -> Any:
        """Calls a function of the CUDA runtime; returns its result, None if it has none."""
        error, *results = getattr(self._cudart, function)(*arguments)
        if int(error):
            _, text = self._cudart.cudaGetErrorString(error)
            reason = text.decode() if isinstance(text, bytes) else str(text)
            if int(error) == _MEMORY_ALLOCATION:
                raise DeviceMemoryError(f"the GPU's memory is full ({function}: {reason})")
            raise SamClipError(f"{function} failed: {reason} (CUDA error {int(error)})")
        return results[0] if results else None


def current_gpu() -> Gpu:
    """The GPU that sessions use.

    Raises:
        RuntimeMissingError: cuda-python is not installed, or there is no GPU.
    """
    return CudaRuntime(import_cudart()).gpu


def import_cudart() -> Any:
    """Imports cuda-python's binding of the CUDA runtime.

    Raises:
        RuntimeMissingError: cuda-python is not installed.
    """
    for module in _MODULES:
        with suppress(ImportError):
            return importlib.import_module(module)
    raise RuntimeMissingError(
        'cuda-python is not installed: pip install "samclip-sdk[tensorrt]" (it installs no '
        'TensorRT); with CUDA 12, as JetPack 6 has it: pip install "cuda-python>=12.2,<13"'
    )
