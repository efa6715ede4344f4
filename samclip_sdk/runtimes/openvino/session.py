"""ONNX graphs on OpenVINO, on the CPU."""

from __future__ import annotations

import platform
import threading
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samclip_sdk.bundle.contract import takes_coordinates
from samclip_sdk.bundle.files import GraphFile
from samclip_sdk.bundle.graph_spec import GraphSpec
from samclip_sdk.errors import BundleError, RuntimeMissingError, StorageError
from samclip_sdk.runtimes.openvino.fp32_stem import read_with_fp32_stem
from samclip_sdk.runtimes.options import DEFAULT_OPTIONS, RuntimeOptions
from samclip_sdk.runtimes.session import Arrays
from samclip_sdk.runtimes.table import RUNTIMES
from samclip_sdk.runtimes.tensor_checks import FileTensor, check_feed, check_outputs, check_tensors
from samclip_sdk.system.keyed_file import KeyedFile
from samclip_sdk.system.packages import import_openvino
from samclip_sdk.system.user_folders import user_cache

DEVICE = "CPU"

_ARM = ("aarch64", "arm64")
_TYPES = {"u8": "uint8", "i32": "int32", "f32": "float32", "f16": "float16"}


class OpenVINOSession:
    """An .onnx file in OpenVINO. Calls of several threads run one after another.

    Args:
        file: the file, with its external weights beside it. `precision` is the one that it runs
            in: "fp32"; "bf16" for an fp32 file; or "int8" for a file with QuantizeLinear, whose
            float operations run in bf16 if the CPU supports it. The graph that takes coordinates
            runs in fp32, and so does what the contract's `bf16_stem` is computed from.
        spec: the graph's contract; the file must keep it.
        options: the number of threads, OpenVINO's choice if 0; and whether the compiled model is
            kept in the user's cache, if that can be written and the file's sha256 is known.
            Compiling is reported to `on_progress`.

    Raises:
        RuntimeMissingError: OpenVINO is not installed, or does not run this precision on this CPU.
        BundleError: the file cannot be loaded or has other inputs or outputs.
    """

    def __init__(
        self, file: GraphFile, *, spec: GraphSpec, options: RuntimeOptions = DEFAULT_OPTIONS
    ) -> None:
        core = openvino_core()
        check_precision(file.precision)
        config = {
            "PERFORMANCE_HINT": "LATENCY",
            # Never OpenVINO's default, which is a reduced precision if the CPU has one.
            "INFERENCE_PRECISION_HINT": _hint(file.precision, spec=spec),
            "INFERENCE_NUM_THREADS": options.threads,
            # Threads that are bound to cores are bound to the first ones, in each process: two
            # processes of one thread would share one core.
            "ENABLE_CPU_PINNING": False,
        }
        try:
            model = _load(core, file, spec=spec, config=config, options=options)
        except RuntimeError as error:
            raise BundleError(f"OpenVINO cannot load {file.path}: {_reason(error)}") from error
        inputs = _file_tensors(model.inputs, names=(each.name for each in spec.inputs))
        outputs = _file_tensors(model.outputs, names=(each.name for each in spec.outputs))
        self.inputs = check_tensors(
            inputs, specs=spec.inputs, where=file.path.name, stands_for={}, open_axes=True
        )
        self.outputs = check_tensors(
            outputs, specs=spec.outputs, where=file.path.name, stands_for={}, open_axes=True
        )
        self._ports = {name: port for port in model.outputs for name in port.get_names()}
        self._request: Any = model.create_infer_request()
        self._turn = threading.Lock()

    def run(self, feed: Arrays) -> dict[str, NDArray[np.generic]]:
        """Runs the graph; see `Session.run`."""
        axes = check_feed(feed, inputs=self.inputs)
        own = {name: np.ascontiguousarray(array) for name, array in feed.items()}
        with self._turn:
            if self._request is None:
                raise ValueError("the session is closed")
            # The inputs are read without a copy. The outputs are copied, because the next run
            # overwrites the request's buffers.
            found = self._request.infer(own, share_inputs=True, share_outputs=False)
            results = {spec.name: found[self._ports[spec.name]] for spec in self.outputs}
        return check_outputs(results, specs=self.outputs, axes=axes)

    def close(self) -> None:
        """Frees the graph."""
        with self._turn:
            self._request = None
            self._ports = {}


@cache
def openvino_core() -> Any:
    """The one OpenVINO Core of this process.

    No second Core may be made. Each Core sets a signal stack for the thread that makes it. If two
    end in the order they were made, the thread keeps the stack of the first one, which is unmapped.
    The next signal that Python handles then ends the process.

    Raises:
        RuntimeMissingError: OpenVINO is not installed.
    """
    return import_openvino().Core()


def check_precision(precision: str) -> None:
    """Refuses a precision that OpenVINO does not run here.

    Raises:
        RuntimeMissingError: OpenVINO is not installed, this CPU has no bf16, or it is Arm's, where
            the masks of int8 were off by more than twice their bound (OpenVINO 2026.4).
        BundleError: OpenVINO has no such precision.
    """
    known = RUNTIMES["openvino"].precisions
    if precision not in known:
        raise BundleError(f"OpenVINO runs in {', '.join(known)}, not in {precision}")
    if precision == "bf16" and not computes_bf16():
        name = openvino_core().get_property(DEVICE, "FULL_DEVICE_NAME")
        raise RuntimeMissingError(
            f"OpenVINO does not compute in bf16 on this CPU ({name}): take fp32 or int8"
        )
    if precision == "int8" and platform.machine() in _ARM:
        raise RuntimeMissingError(
            "OpenVINO's int8 does not keep its bounds on Arm CPUs: take fp32, or int8 on onnx"
        )


def computes_bf16() -> bool:
    """Whether OpenVINO computes in bf16 on this CPU; then int8's float operations use it too."""
    return "BF16" in openvino_core().get_property(DEVICE, "OPTIMIZATION_CAPABILITIES")


def _hint(precision: str, *, spec: GraphSpec) -> str:
    if precision == "fp32" or takes_coordinates(spec):
        return "f32"
    return "bf16" if computes_bf16() else "f32"


def cache_folder() -> Path:
    """The folder of compiled models."""
    return user_cache("openvino")


def _load(
    core: Any,
    file: GraphFile,
    *,
    spec: GraphSpec,
    config: dict[str, Any],
    options: RuntimeOptions,
) -> Any:
    """Takes the compiled model from the cache, or compiles the file and keeps the result if asked.

    If the cache cannot be read or written, or OpenVINO refuses its model, only time is lost.
    """
    stem = spec.bf16_stem if config["INFERENCE_PRECISION_HINT"] == "bf16" else None
    if not file.sha256:
        return _compile(core, file.path, stem=stem, config=config)
    key = {
        "sha256": file.sha256,
        "weights_sha256": file.weights_sha256,
        "precision_hint": config["INFERENCE_PRECISION_HINT"],
        "fp32_stem": stem,
        "cpu": core.get_property(DEVICE, "FULL_DEVICE_NAME"),
        "version": import_openvino().__version__,
    }
    kept = KeyedFile(cache_folder(), name=f"{file.path.stem}.blob", key=key)
    content = kept.read()
    if content is not None:
        with suppress(RuntimeError):
            return core.import_model(content, DEVICE, config)
    options.on_progress(f"compiling {file.path.stem} for this CPU", 0, 1)
    model = _compile(core, file.path, stem=stem, config=config)
    if options.keep_compiled:
        with suppress(StorageError):
            kept.write(model.export_model().getvalue())
    return model


def _compile(core: Any, path: Path, *, stem: str | None, config: dict[str, Any]) -> Any:
    if stem is None:
        return core.compile_model(str(path), DEVICE, config)
    with TemporaryDirectory(prefix="samclip-", ignore_cleanup_errors=True) as folder:
        model = read_with_fp32_stem(core, path, until=stem, folder=Path(folder))
        return core.compile_model(model, DEVICE, config)


def _reason(error: RuntimeError) -> str:
    """The last line of an exception, which is its reason; the lines before are its origin."""
    return [line for line in str(error).splitlines() if line.strip()][-1]


def _file_tensors(ports: Sequence[Any], *, names: Iterable[str]) -> list[FileTensor]:
    """The inputs or outputs as OpenVINO reports them, each under its name in the contract."""
    wanted = set(names)
    return [
        FileTensor(
            name=min(port.get_names() & wanted or port.get_names(), default=""),
            dtype=_TYPES.get(kind := port.get_element_type().get_type_name(), kind),
            axes=tuple(
                axis.get_length() if axis.is_static else None for axis in port.get_partial_shape()
            ),
        )
        for port in ports
    ]
