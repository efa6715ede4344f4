"""Peers as a user deploys them: exported once, then run on onnxruntime or OpenVINO.

OpenVINO computes in the precision that it chooses for the CPU if nobody asks for one: in bf16 where
the CPU has it.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import platformdirs
from numpy.typing import NDArray
from PIL import Image

from benchmarks.speed.peers.forced import RANDOM_WEIGHTS
from benchmarks.speed.subject import IMAGE_PX, Opened, Workload

CACHE = platformdirs.user_cache_path("samclip-sdk") / "peers"
RUNTIMES = {"onnx": "onnxruntime", "openvino": "openvino"}
"""Runtime -> its package."""

Arrays = Mapping[str, NDArray[np.generic]]


def exported(export: Callable[..., None], *arguments: str, packages: Sequence[str]) -> Path:
    """The folder with what a peer exports, made first unless the cache has it.

    The export is made by another process, since it raises the peak memory that is measured; it is
    given the arguments and the folder, which is named after them and the versions of the packages.
    """
    versions = (f"{name}-{metadata.version(name)}" for name in packages)
    peer = export.__module__.rpartition(".")[2]
    folder = CACHE / "-".join((peer, *arguments, *versions))
    if not folder.exists():
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            pool.submit(export, *arguments, folder).result()
    return folder


@dataclass(frozen=True)
class Net:
    """An opened graph: it maps inputs by name to outputs in their order.

    `input_axis` and `output_axis` are the last axes of its first input and output.
    """

    run: Callable[[Arrays], list[NDArray[np.float32]]]
    input_axis: int
    output_axis: int


def open_net(path: Path, *, runtime: str, arena: bool = True) -> Net:
    """Opens an ONNX file with a runtime's own options.

    `arena` is onnxruntime's memory arena, which is on by default.
    """
    if runtime == "openvino":
        openvino = _import_openvino()
        model = openvino.Core().compile_model(path, "CPU", {"PERFORMANCE_HINT": "LATENCY"})
        request = model.create_infer_request()

        def infer(feed: Arrays) -> list[NDArray[np.float32]]:
            return [np.array(found) for found in request.infer(dict(feed)).values()]

        axes = (port.get_partial_shape()[-1] for port in (model.inputs[0], model.outputs[0]))
        return Net(infer, *(axis.get_length() if axis.is_static else -1 for axis in axes))
    # As the SDK does, which this process must not import.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.enable_cpu_mem_arena = arena
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
    sys.modules["openvino_telemetry"] = None  # as if it were missing
    try:
        import openvino
    finally:
        del sys.modules["openvino_telemetry"]
        if known is not None:
            sys.modules["openvino_telemetry"] = known
    return openvino


def stored_bytes(path: Path) -> int:
    """What a file takes, or those of a folder."""
    files = [path] if path.is_file() else path.rglob("*")
    return sum(path.stat().st_size for path in files if path.is_file())


@dataclass(frozen=True)
class ExportedPeer:
    """A peer that was exported for a runtime; its `key` is a stem, and the runtime."""

    stem: ClassVar[str] = ""
    packages: ClassVar[tuple[str, ...]]

    runtime: str = "openvino"

    @property
    def key(self) -> str:
        """Names the runtime."""
        return f"{self.stem}-{self.runtime}"

    def opened(
        self, name: str, *, notes: str, files: Path, workloads: Mapping[str, Workload]
    ) -> Opened:
        """Tells what was opened: `files` are what a user would deploy."""
        return Opened(
            name=f"{name}, {self.runtime}",
            packages=(*self.packages, RUNTIMES[self.runtime]),
            precision=precision_of(self.runtime),
            notes=f"{RANDOM_WEIGHTS}; {notes}",
            artifact_bytes=stored_bytes(files),
            workloads=workloads,
        )


class PlainSam:
    """A SAM that was exported plainly: encodes an image of `IMAGE_PX`, decodes points in it.

    Args:
        folder: with image_encoder.onnx and mask_decoder.onnx.
        side_px: of the square that the encoder sees.
        runtime: "onnx" or "openvino".
        arena: see `open_net`.
    """

    def __init__(self, folder: Path, *, side_px: int, runtime: str, arena: bool = True) -> None:
        self._encode, self._decode = (
            open_net(folder / f"{name}.onnx", runtime=runtime, arena=arena)
            for name in ("image_encoder", "mask_decoder")
        )
        width, height = IMAGE_PX
        scale = side_px / max(height, width)
        self._resized_px = int(width * scale + 0.5), int(height * scale + 0.5)
        self._no_mask = np.zeros((1, 1, side_px // 4, side_px // 4), np.float32)

    def encode(self, image: NDArray[np.uint8]) -> None:
        """Resizes an image, uint8 RGB, and runs the encoder, whose graph normalises and pads."""
        resized = Image.fromarray(image).resize(self._resized_px, Image.BILINEAR)
        (self._embeddings,) = self._encode.run({"input_image": np.asarray(resized, np.float32)})

    def decode(self, point: tuple[float, float]) -> NDArray[np.bool_]:
        """SAM's four masks [4,H,W] of a point (x, y) in pixels of the image."""
        path = np.array(point) * self._resized_px / IMAGE_PX
        feed = {
            "image_embeddings": self._embeddings,
            # With SAM's padding point, which comes with every point that has no box.
            "point_coords": np.array([[path, (0, 0)]], np.float32),
            "point_labels": np.array([[1, -1]], np.float32),
            "mask_input": self._no_mask,
            "has_mask_input": np.zeros(1, np.float32),
            "orig_im_size": np.array(IMAGE_PX[::-1], np.float32),
        }
        return self._decode.run(feed)[0][0] > 0
