"""Peers as a user deploys them: exported once, then run on onnxruntime or OpenVINO.

OpenVINO computes in the precision that it chooses for the CPU if nobody asks for one: in bf16 where
the CPU has it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
from numpy.typing import NDArray

CACHE = platformdirs.user_cache_path("samclip-sdk") / "peers"
RUNTIMES = {"onnx": "onnxruntime", "openvino": "openvino"}
"""Runtime -> its package."""

Arrays = Mapping[str, NDArray[np.generic]]

_ROOT = Path(__file__).parents[3]


def exported(
    module: str, *arguments: str, packages: Sequence[str], cache: str | Path = CACHE
) -> Path:
    """The folder with what a module of this room exports, made first unless the cache has it.

    The export is made by another process, since it raises the peak memory that is measured: the
    module as a program, with the arguments and the folder. The folder is named after them and the
    versions of the packages.

    Raises:
        RuntimeError: the export failed.
    """
    versions = (f"{name}-{metadata.version(name)}" for name in packages)
    folder = Path(cache).absolute() / "-".join((module, *arguments, *versions))
    if not folder.exists():
        command = [sys.executable, "-m", f"{__package__}.{module}", *arguments, str(folder)]
        done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"the export of {module} failed:\n{done.stderr[-2000:]}")
    return folder


@dataclass(frozen=True)
class Net:
    """An opened graph: it maps inputs by name to outputs in their order.

    `input_axis` and `output_axis` are the last axes of its first input and output.
    """

    run: Callable[[Arrays], list[NDArray[np.float32]]]
    input_axis: int
    output_axis: int


def open_net(path: Path, *, runtime: str, threads: int = 0, arena: bool = True) -> Net:
    """Opens an ONNX file with a runtime's own options; 0 threads leave it the choice.

    `arena` is onnxruntime's memory arena, which is on by default.
    """
    if runtime == "openvino":
        openvino = _import_openvino()
        config = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads}
        model = openvino.Core().compile_model(path, "CPU", config)
        request = model.create_infer_request()

        def infer(feed: Arrays) -> list[NDArray[np.float32]]:
            return [np.array(found) for found in request.infer(dict(feed)).values()]

        axes = (port.get_partial_shape()[-1] for port in (model.inputs[0], model.outputs[0]))
        return Net(infer, *(axis.get_length() if axis.is_static else -1 for axis in axes))
    # As the SDK does, which this process must not import.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.enable_cpu_mem_arena, options.intra_op_num_threads = arena, threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    axes = (port.shape[-1] for port in (session.get_inputs()[0], session.get_outputs()[0]))
    return Net(lambda feed: session.run(None, dict(feed)), *axes)


def precision_of(runtime: str) -> str:
    """What a runtime computes fp32 graphs in on this CPU, if nobody asks for a precision."""
    if runtime != "openvino":
        return "fp32"
    hint = _import_openvino().Core().get_property("CPU", "INFERENCE_PRECISION_HINT").get_type_name()
    return {"f32": "fp32"}.get(hint, hint)


def _import_openvino() -> Any:
    """Imports OpenVINO without its telemetry, as the SDK does."""
    known = sys.modules.pop("openvino_telemetry", None)
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # as if it were missing
    try:
        import openvino
    finally:
        del sys.modules["openvino_telemetry"]
        if known is not None:
            sys.modules["openvino_telemetry"] = known
    return openvino


def check_runtime(runtime: str) -> None:
    """Raises ValueError if a peer is not exported for a runtime."""
    if runtime not in RUNTIMES:
        raise ValueError(f"runtime is {runtime!r}; it must be one of {', '.join(RUNTIMES)}")


def stored_bytes(folder: Path) -> int:
    """What the files of a folder take."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
