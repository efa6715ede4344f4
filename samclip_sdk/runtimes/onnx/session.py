"""ONNX graphs on onnxruntime."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samclip_sdk.bundle.files import GraphFile
from samclip_sdk.bundle.graph_spec import GraphSpec
from samclip_sdk.errors import BundleError, RuntimeMissingError, one_line
from samclip_sdk.runtimes.onnx.optimized import OptimizedGraph
from samclip_sdk.runtimes.onnx.providers import CPU_PROVIDER, open_graph, wanted_providers
from samclip_sdk.runtimes.options import DEFAULT_OPTIONS, RuntimeOptions
from samclip_sdk.runtimes.session import Arrays, run_failure
from samclip_sdk.runtimes.tensor_checks import FileTensor, check_feed, check_outputs, check_tensors
from samclip_sdk.system.packages import import_onnxruntime

EXACT_INT8 = "session.x64quantprecision"
"""Without this setting, sums of int8 products overflow on processors with AVX2 but without VNNI."""

SPINNING = "session.intra_op.allow_spinning"

_WITHOUT = "optimization.disable_specified_optimizers"
_FUSED_NORM = "SkipLayerNormFusion"
"""It fuses an addition and a norm; on a CPU the fused operator takes five times as long as both."""

_LARGE_INPUT = 2**20
"""With so many values in an input, a graph gets a memory arena: an image of 592 x 592 px."""

_ERRORS_ONLY = 3
_TYPES = {
    "tensor(uint8)": "uint8",
    "tensor(int32)": "int32",
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
}


class OrtSession:
    """An .onnx file in onnxruntime; any number of threads may call it at the same time.

    Args:
        file: the file, with its external weights beside it. If it comes with its digest, the
            optimized graph is kept in the user's cache, if that can be written and the graph runs
            on the CPU.
        spec: the graph's contract; the file must keep it, but may have fp16 in place of fp32.
        options: the device or the providers, and the number of threads of an operation.

    Raises:
        RuntimeMissingError: onnxruntime, or a provider, is missing.
        BundleError: the file cannot be loaded or has other inputs or outputs.
    """

    def __init__(
        self, file: GraphFile, *, spec: GraphSpec, options: RuntimeOptions = DEFAULT_OPTIONS
    ) -> None:
        path = file.path
        try:
            session = _open(file, spec=spec, options=options)
        except RuntimeMissingError:
            raise
        except Exception as error:  # onnxruntime's exceptions have no common base class.
            raise BundleError(f"onnxruntime cannot load {path}: {one_line(error)}") from error
        trim_heap()
        self._path = path
        own = _file_tensors(session.get_inputs())
        self.inputs = check_tensors(own, specs=spec.inputs, where=path.name, open_axes=True)
        self.outputs = check_tensors(
            _file_tensors(session.get_outputs()),
            specs=spec.outputs,
            where=path.name,
            open_axes=True,
        )
        self._dtypes = {tensor.name: np.dtype(tensor.dtype) for tensor in own}
        self._session: Any = session

    def run(self, feed: Arrays) -> dict[str, NDArray[np.generic]]:
        """Runs the graph; see `Session.run`."""
        session = self._session  # read once: another thread may close it
        if session is None:
            raise ValueError("the session is closed")
        axes = check_feed(feed, inputs=self.inputs)
        try:
            outputs = self._run(session, feed)
        except Exception as error:  # A file may load and still fail on every input.
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


def _open(file: GraphFile, *, spec: GraphSpec, options: RuntimeOptions) -> Any:
    """Opens the optimized graph of the cache, or the file, and then keeps the optimized graph.

    If the cache cannot be read or written, or onnxruntime refuses what is there, only time is lost.
    """
    path = str(file.path)
    on_cpu = wanted_providers(options)[0] == CPU_PROVIDER
    wanted = partial(session_options, options, spec=spec, on_cpu=on_cpu)
    if not (file.sha256 and options.keep_compiled and on_cpu):
        return open_graph(path, options=options, session_options=wanted())
    kept = OptimizedGraph(file, settings={EXACT_INT8: "1", _WITHOUT: _FUSED_NORM})
    if found := kept.find():
        as_it_is = wanted()
        levels = import_onnxruntime().GraphOptimizationLevel
        as_it_is.graph_optimization_level = levels.ORT_DISABLE_ALL
        with suppress(Exception):
            return open_graph(str(found), options=options, session_options=as_it_is)
    writing = wanted()
    with suppress(Exception), kept.keeping(writing):
        return open_graph(path, options=options, session_options=writing)
    return open_graph(path, options=options, session_options=wanted())


def session_options(options: RuntimeOptions, *, spec: GraphSpec, on_cpu: bool) -> Any:
    """The SessionOptions of onnxruntime that graphs are opened with."""
    settings = import_onnxruntime().SessionOptions()
    # Memory planning keeps every attention map alive, and buffer reuse keeps some buffers of every
    # size alive. Each about doubles the peak, and neither saves time.
    settings.enable_mem_pattern = False
    settings.enable_mem_reuse = False
    # Without an arena, the large values of each run are in fresh memory, page by page: half of the
    # time of a small encoder at 1,024 px. Of smaller images the C library keeps the memory, and
    # an arena would add a quarter to the peak.
    sizes = (prod(n for n in each.shape if isinstance(n, int)) for each in spec.inputs)
    settings.enable_cpu_mem_arena = any(size >= _LARGE_INPUT for size in sizes)
    # Spinning threads take the cores from other work, and each graph has its own threads. On two
    # busy cores a pass of a small model took 200 ms, not 31; on idle cores 28.
    settings.add_session_config_entry(SPINNING, "0")
    settings.add_session_config_entry(EXACT_INT8, "1")
    if on_cpu:
        settings.add_session_config_entry(_WITHOUT, _FUSED_NORM)
    settings.log_severity_level = _ERRORS_ONLY
    settings.intra_op_num_threads = options.threads
    return settings


def _file_tensors(nodes: Iterable[Any]) -> list[FileTensor]:
    """The inputs or outputs as onnxruntime reports them."""
    return [
        FileTensor(node.name, _TYPES.get(node.type, node.type), tuple(node.shape)) for node in nodes
    ]


def trim_heap() -> None:
    """Makes glibc return freed memory between used blocks to the system.

    While a runtime opens a graph, it takes several times the memory of the weights. glibc keeps
    most of it after it is freed: 75 MB of an image encoder's 110. Other systems and C libraries do
    not need this.
    """
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)
