"""Runs of onnxruntime on a GPU whose tensors stay there for the sessions that take them next."""

from __future__ import annotations

import functools
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samclip_sdk.bundle.graph_spec import TensorSpec
from samclip_sdk.runtimes.device_copies import DeviceCopies, seal
from samclip_sdk.runtimes.session import Arrays

DEVICES = {"CUDAExecutionProvider": "cuda", "TensorrtExecutionProvider": "cuda"}
"""Execution provider -> what onnxruntime calls the device that its tensors are on."""

_LOCK = threading.Lock()


class DeviceRunner:
    """Runs a session with its inputs and outputs bound to device memory.

    Args:
        ort: the package.
        session: of onnxruntime.
        device: what onnxruntime calls it, and its number.
        dtypes: of the session's own inputs.
        outputs: the contract's.
    """

    def __init__(
        self,
        ort: Any,
        session: Any,
        *,
        device: tuple[str, int],
        dtypes: Mapping[str, np.dtype[Any]],
        outputs: Sequence[TensorSpec],
    ) -> None:
        self._ort = ort
        self._session = session
        self._device = device
        self._dtypes = dtypes
        self._outputs = outputs

    def run(self, feed: Arrays) -> dict[str, NDArray[np.generic]]:
        """Runs the graph; the arrays returned are read-only, in the contract's dtypes."""
        binding = self._session.io_binding()
        inputs = {name: self._on_device(name, array) for name, array in feed.items()}
        for name, value in inputs.items():
            binding.bind_ortvalue_input(name, value)
        for spec in self._outputs:
            binding.bind_output(spec.name, *self._device)
        self._session.run_with_iobinding(binding)
        results = {}
        for spec, value in zip(self._outputs, binding.get_outputs(), strict=True):
            own = value.numpy()
            array = seal(np.ascontiguousarray(own, dtype=spec.dtype))
            with _LOCK:
                _copies(self._device).remember(array, (value, own.dtype), size_bytes=own.nbytes)
            results[spec.name] = array
        return results

    def _on_device(self, name: str, array: NDArray[np.generic]) -> Any:
        """An input as it lies on the device, uploaded unless a session left it there."""
        dtype = self._dtypes[name]
        with _LOCK:
            found = _copies(self._device).find(array)
        if found is not None and found[1] == dtype:
            return found[0]
        own = np.ascontiguousarray(array, dtype=dtype)
        return self._ort.OrtValue.ortvalue_from_numpy(own, *self._device)


@functools.cache
def _copies(device: tuple[str, int]) -> DeviceCopies[tuple[Any, np.dtype[Any]]]:
    """What the sessions of this process left on a device, with the type that it has there."""
    return DeviceCopies()
