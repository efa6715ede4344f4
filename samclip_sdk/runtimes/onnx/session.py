"""ONNX graphs on onnxruntime."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samclip_sdk.bundle.graph_spec import GraphSpec
from samclip_sdk.errors import BundleError, RuntimeMissingError, one_line
from samclip_sdk.runtimes.onnx.providers import CPU_PROVIDER, open_graph, wanted_providers
from samclip_sdk.runtimes.options import DEFAULT_OPTIONS, RuntimeOptions
from samclip_sdk.runtimes.session import Arrays, run_failure
from samclip_sdk.runtimes.tensor_checks import FileTensor, check_feed, check_outputs, check_tensors
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
        if wanted_providers(options)[0] == CPU_PROVIDER:
            settings.add_session_config_entry(_WITHOUT, _FUSED_NORM)
        settings.log_severity_level = _ERRORS_ONLY
        settings.intra_op_num_threads = options.threads
        try:
            session = open_graph(str(path), options=options, session_options=settings)
        except RuntimeMissingError:
            raise
        except Exception as error:  # onnxruntime's exceptions share no base class of their own.
            raise BundleError(f"onnxruntime cannot load {path}: {one_line(error)}") from error
        trim_heap()
        self._path = path
        own = _file_tensors(session.get_inputs())
        self.inputs = check_tensors(own, specs=spec.inputs, where=path.name, open_axes=True)
        self.outputs = check_tensors(
            _file_tensors(session.get_outputs()), specs=spec.outputs, where=path.name
        )
        self._dtypes = {tensor.name: np.dtype(tensor.dtype) for tensor in own}
        self._session: Any = session

    def run(self, feed: Arrays) -> dict[str, NDArray[np.generic]]:
        """Runs the graph; see `Session.run`."""
        session = self._session  # one look: another thread may close it
        if session is None:
            raise ValueError("the session is closed")
        axes = check_feed(feed, inputs=self.inputs)
        try:
            outputs = self._run(session, feed)
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
        self._session = None


def _file_tensors(nodes: Iterable[Any]) -> list[FileTensor]:
    """The inputs or outputs as onnxruntime tells them."""
    return [
        FileTensor(node.name, _TYPES.get(node.type, node.type), tuple(node.shape)) for node in nodes
    ]


def trim_heap() -> None:
    """Has glibc return to the system what was freed between blocks that are still in use.

    A runtime takes several times a graph's weights while it opens it, most of which glibc keeps
    for later: 75 MB of an image encoder's 110. Other systems and libraries do without.
    """
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)
