"""The machine's limits as a subject: products of square matrices, and a large copy.

The most of a precision is the best of several sizes: a share of it is then not flattered by a poor
peak.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
import onnx.parser
import torch
from onnx import numpy_helper

from benchmarks.speed.subject import Opened, Workload
from samclip_sdk.system.packages import import_onnxruntime

COPY_BYTES = 2**28
"""Far more than the caches hold."""

_SIZES = "1024+2048+3072"


@dataclass(frozen=True)
class MachineLimits:
    """Workloads such as "bf16 torch 2048", on so many threads, and "copy"."""

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
            packages=("torch", "onnxruntime"),
            notes="products of square matrices, and a copy",
            artifact_bytes=0,
            workloads={**dict(products), "copy": partial(torch.empty_like(source).copy_, source)},
        )


def _products(side: int, threads: int) -> Iterator[tuple[str, Workload]]:
    """Products of two matrices [side,side], the right one constant, by precision and engine."""
    onnxruntime = import_onnxruntime()
    drawn = np.random.default_rng(0).standard_normal((2, side, side), dtype=np.float32)
    for precision, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        left, right = torch.from_numpy(drawn).to(dtype)
        product = partial(torch.mm, left, right, out=torch.empty_like(left))
        yield f"{precision} torch {side}", product
    options, provider = onnxruntime.SessionOptions(), ["CPUExecutionProvider"]
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(int8_product(drawn[1]), options, providers=provider)
    yield f"int8 onnxruntime {side}", partial(session.run, None, {"left": drawn[0]})


def int8_product(right: np.ndarray) -> bytes:
    """An ONNX file that multiplies in int8: uint8 by int8 in QDQ form, float32 [S,S] in and out."""
    size, scale = len(right), float(np.abs(right).max() / 127)
    model = onnx.parser.parse_model(f"""
        <ir_version: 8, opset_import: ["": 17]>
        graph (float[{size},{size}] left) => (float[{size},{size}] product) {{
            left_q = QuantizeLinear(left, left_scale, left_zero)
            left_d = DequantizeLinear(left_q, left_scale, left_zero)
            right_d = DequantizeLinear(right_q, right_scale, right_zero)
            product = MatMul(left_d, right_d)
        }}""")
    constants = {
        "left_scale": np.array(12 / 255, np.float32),
        "right_scale": np.array(scale, np.float32),
        "left_zero": np.array(128, np.uint8),
        "right_zero": np.array(0, np.int8),
        "right_q": np.clip(np.rint(right / scale), -127, 127).astype(np.int8),
    }
    given = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    model.graph.initializer.extend(given)
    return model.SerializeToString()
