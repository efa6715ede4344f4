"""The machine's limits as a subject: products of square matrices, and a large copy.

The most of a precision is the best of several engines and sizes: a share of it is then not
flattered by a poor peak.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import ClassVar

import numpy as np
import onnx.parser
import torch
from onnx import numpy_helper

from benchmarks.speed.subject import Opened, Workload
from samclip_sdk.runtimes.openvino.session import DEVICE, openvino_core
from samclip_sdk.system.packages import import_onnxruntime, import_openvino

COPY_BYTES = 2**28
"""Far more than the caches hold."""

_SIZES = "1024+2048+3072"


@dataclass(frozen=True)
class MachineLimits:
    """Workloads such as "int8 openvino 2048", on so many threads, and "copy"."""

    threads: int
    sizes: str | int = _SIZES

    key: ClassVar[str] = "machine"

    def open(self) -> Opened:
        """Makes the matrices and compiles their products."""
        torch.set_num_threads(self.threads)
        source = torch.ones(COPY_BYTES, dtype=torch.uint8)
        products = (
            each
            for side in str(self.sizes).split("+")
            for each in _products(int(side), self.threads)
        )
        return Opened(
            name="the machine",
            packages=("torch", "onnxruntime", "openvino"),
            notes="products of square matrices, and a copy",
            artifact_bytes=0,
            workloads={**dict(products), "copy": partial(torch.empty_like(source).copy_, source)},
        )


def _products(side: int, threads: int) -> Iterator[tuple[str, Workload]]:
    """Products of two matrices [side,side], the right one constant, by precision and engine."""
    drawn = np.random.default_rng(0).standard_normal((2, side, side), dtype=np.float32)
    left, right = drawn
    graphs = {
        "fp32": _graph("product = MatMul(left, right)", side, right=right),
        "int8": int8_product(right),
    }
    for precision, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        pair = torch.from_numpy(drawn).to(dtype)
        product = partial(torch.mm, pair[0], pair[1], out=torch.empty_like(pair[0]))
        yield f"{precision} torch {side}", product
    if find_spec("openvino"):
        for precision, graph, hint in (
            ("fp32", "fp32", "f32"),
            ("bf16", "fp32", "bf16"),
            ("int8", "int8", "f32"),
        ):
            yield f"{precision} openvino {side}", _openvino(graphs[graph], left, hint, threads)
    for precision, graph in graphs.items():
        yield f"{precision} onnxruntime {side}", _onnxruntime(graph, left, threads)


def int8_product(right: np.ndarray) -> bytes:
    """A product of quantised tensors, uint8 by int8, in QDQ form; float32 in and out."""
    right_scale = float(np.abs(right).max() / 127)
    return _graph(
        """
        left_q = QuantizeLinear(left, left_scale, left_zero)
        left_d = DequantizeLinear(left_q, left_scale, left_zero)
        right_d = DequantizeLinear(right_q, right_scale, right_zero)
        product = MatMul(left_d, right_d)
        """,
        len(right),
        left_scale=np.array(12 / 255, np.float32),
        right_scale=np.array(right_scale, np.float32),
        left_zero=np.array(128, np.uint8),
        right_zero=np.array(0, np.int8),
        right_q=np.clip(np.rint(right / right_scale), -127, 127).astype(np.int8),
    )


def _graph(nodes: str, side: int, **constants: np.ndarray) -> bytes:
    """An ONNX file that makes `product` of `left`, both float32 [side,side], and of constants."""
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 17]>'
        f"graph (float[{side},{side}] left) => (float[{side},{side}] product) {{ {nodes} }}"
    )
    given = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    model.graph.initializer.extend(given)
    return model.SerializeToString()


def _onnxruntime(model: bytes, left: np.ndarray, threads: int) -> Workload:
    onnxruntime = import_onnxruntime()
    options, provider = onnxruntime.SessionOptions(), ["CPUExecutionProvider"]
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(model, options, providers=provider)
    return partial(session.run, None, {"left": left})


def _openvino(model: bytes, left: np.ndarray, precision: str, threads: int) -> Workload:
    core = openvino_core()
    hints = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": threads}
    compiled = core.compile_model(core.read_model(model), DEVICE, hints)
    request = compiled.create_infer_request()
    request.set_input_tensor(import_openvino().Tensor(left, shared_memory=True))
    return request.infer
