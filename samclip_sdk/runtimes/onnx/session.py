"""ONNX graphs on onnxruntime."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samclip_sdk.bundle.graph_spec import GraphSpec, TensorSpec
from samclip_sdk.errors import BundleError, RuntimeMissingError, one_line
from samclip_sdk.runtimes.base import check_feed, check_outputs, file_tensor
from samclip_sdk.runtimes.onnx.device import DEVICES, DeviceRunner
from samclip_sdk.runtimes.onnx.freed_memory import return_freed_memory
from samclip_sdk.runtimes.onnx.providers import CPU_PROVIDER, open_graph, wanted_providers
from samclip_sdk.runtimes.options import DEFAULT_OPTIONS, RuntimeOptions, device_index
from samclip_sdk.runtimes.session import Arrays, run_failure
from samclip_sdk.system.packages import import_onnxruntime

EXACT_INT8 = "session.x64quantprecision"
"""Without it, sums of int8 products overflow on processors that have AVX2 and no VNNI."""

_SPINNING = "session.intra_op.allow_spinning"

_WITHOUT = "optimization.disable_specified_optimizers"
_FUSED_NORM = "SkipLayerNormFusion"
"""It makes an addition and a norm one operator, which on a CPU takes five times what the two do."""

_ERRORS_ONLY = 3
_TYPES = {
    "tensor(uint8)": "uint8",
    "tensor(int32)": "int32",
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
}


class OrtSession:
    """An .onnx file in onnxruntime, which runs any number of threads' calls at once.

    Args:
        path: of the file; its external weights lie beside it.
        spec: the graph's contract; the file must keep it, an fp16 tensor for an fp32 one aside.
        options: the device or the providers, and how many threads an operation has.

    Raises:
        RuntimeMissingError: onnxruntime, or a provider, is not there.
        BundleError: the file cannot be loaded or has other inputs or outputs.
    """

    def __init__(
        self, path: Path, *, spec: GraphSpec, options: RuntimeOptions = DEFAULT_OPTIONS
    ) -> None:
        ort = import_onnxruntime()
        settings = ort.SessionOptions()
        # Planning memory ahead keeps every attention map alive, and reusing buffers keeps some of
        # every size alive: either about doubles the peak, and neither saves time.
        settings.enable_mem_pattern = False
        settings.enable_mem_reuse = False
        # An arena keeps what its largest call took: a quarter of the peak, and it saves no time.
        settings.enable_cpu_mem_arena = False
        # Threads that spin while they wait take the cores from what else runs, and each graph has
        # its own: on two busy cores a pass of a small model took 200 ms, not 31; on idle ones 28.
        settings.add_session_config_entry(_SPINNING, "0")
        settings.add_session_config_entry(EXACT_INT8, "1")
        first = wanted_providers(options)[0]
        if first == CPU_PROVIDER:
            settings.add_session_config_entry(_WITHOUT, _FUSED_NORM)
        settings.log_severity_level = _ERRORS_ONLY
        settings.intra_op_num_threads = options.threads
        try:
            session = open_graph(str(path), options=options, session_options=settings)
        except RuntimeMissingError:
            raise
        except Exception as error:  # onnxruntime's exceptions share no base class of their own.
            raise BundleError(f"onnxruntime cannot load {path}: {one_line(error)}") from error
        return_freed_memory()
        self._path = path
        self.inputs, self._dtypes = _check_tensors(
            session.get_inputs(), specs=spec.inputs, path=path, are_inputs=True
        )
        self.outputs, _ = _check_tensors(
            session.get_outputs(), specs=spec.outputs, path=path, are_inputs=False
        )
        self._session: Any = session
        kind = DEVICES.get(first)
        self._on_device = kind and DeviceRunner(
            ort,
            session,
            device=(kind, device_index(options.device or "")),
            dtypes=self._dtypes,
            outputs=spec.outputs,
        )

    def run(self, feed: Arrays) -> dict[str, NDArray[np.generic]]:
        """Runs the graph; see `Session.run`."""
        session, on_device = self._session, self._on_device  # one look: a thread may close it
        if session is None:
            raise ValueError("the session is closed")
        axes = check_feed(feed, inputs=self.inputs)
        try:
            outputs = on_device.run(feed) if on_device else self._run(session, feed)
        except Exception as error:  # A file may load, and still hold what no input fits.
            raise run_failure(f"{self._path} in onnxruntime", error) from error
        return check_outputs(outputs, specs=self.outputs, axes=axes)

    def _run(self, session: Any, feed: Arrays) -> dict[str, NDArray[np.generic]]:
        names = [spec.name for spec in self.outputs]
        own = {
            name: np.ascontiguousarray(array, dtype=self._dtypes[name])
            for name, array in feed.items()
        }
        return dict(zip(names, session.run(names, own), strict=True))

    def close(self) -> None:
        """Frees the graph."""
        self._session = self._on_device = None


def _check_tensors(
    nodes: Sequence[Any], *, specs: Sequence[TensorSpec], path: Path, are_inputs: bool
) -> tuple[tuple[TensorSpec, ...], dict[str, np.dtype[Any]]]:
    """Checks names, types and axes of a file's inputs or outputs.

    Returns:
        The tensors as the file has them, and its own dtypes.
    """
    by_name = {node.name: node for node in nodes}
    if set(by_name) != {spec.name for spec in specs}:
        raise BundleError(
            f"{path.name} has the tensors {one_line(sorted(by_name))}, the manifest says "
            f"{sorted(spec.name for spec in specs)}"
        )
    own, dtypes = [], {}
    for spec in specs:
        node = by_name[spec.name]
        dtype = _TYPES.get(node.type, node.type)
        same_type = dtype == spec.dtype or (dtype, spec.dtype) == ("float16", "float32")
        axes = [axis if isinstance(axis, int) else None for axis in node.shape]
        tensor = file_tensor(spec, axes=axes, is_input=are_inputs)
        if not same_type or tensor is None:
            raise BundleError(
                f"{path.name}: {spec.name} is {dtype}{one_line(node.shape)}, the manifest says "
                f"{spec.dtype}{list(spec.shape)}"
            )
        own.append(tensor)
        dtypes[spec.name] = np.dtype(dtype)
    return tuple(own), dtypes
