"""What this machine can do at most: matrix products in each precision, and copying memory.

The best of several engines, sizes and repeats counts: a share of it that a model reaches is then
not flattered by a poor measurement of the peak.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from samclip_sdk.runtimes.importing import import_onnxruntime, import_openvino

SIZES = (1024, 2048, 3072)
REPEATS = 5
COPY_BYTES = 2**28


@dataclass(frozen=True)
class MatrixPeak:
    """The best product of two square matrices.

    Attributes:
        precision: "fp32", "bf16" or "int8".
        engine: that reached it.
        size: rows of the matrices.
        gflops: 10^9 operations a second; a multiplication and an addition are two.
    """

    precision: str
    engine: str
    size: int
    gflops: float


@dataclass(frozen=True)
class MachinePeaks:
    """What a machine reached with so many threads.

    Attributes:
        threads: of each engine.
        matrix: the best of each precision.
        tried: the best of each precision and engine.
        bandwidth_gbps: 10^9 bytes a second of a large copy, those read and those written.
    """

    threads: int
    matrix: dict[str, MatrixPeak]
    tried: tuple[MatrixPeak, ...]
    bandwidth_gbps: float


def measure_peaks(
    *,
    threads: int,
    sizes: Sequence[int] = SIZES,
    repeats: int = REPEATS,
    copy_bytes: int = COPY_BYTES,
) -> MachinePeaks:
    """Measures this machine, with the engines that are installed; torch always is.

    Sets torch's threads, and leaves them as they were.

    Args:
        threads: of each engine.
        sizes: of the square matrices.
        repeats: after one run that does not count; the fastest counts.
        copy_bytes: of the memory that is copied; far more than the caches hold.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        products = [
            MatrixPeak(precision, engine, size, 2 * size**3 / seconds / 1e9)
            for size in sizes
            for precision, engine, run in _products(size, threads=threads)
            for seconds in [_best_seconds(run, repeats=repeats)]
        ]
        bandwidth = _measure_bandwidth(copy_bytes, repeats=repeats)
    finally:
        torch.set_num_threads(before)
    tried: dict[tuple[str, str], MatrixPeak] = {}
    best: dict[str, MatrixPeak] = {}
    for product in sorted(products, key=lambda product: product.gflops):
        tried[product.precision, product.engine] = product
        best[product.precision] = product
    return MachinePeaks(threads, best, tuple(tried.values()), bandwidth)


def _best_seconds(run: Callable[[], object], *, repeats: int) -> float:
    run()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def _measure_bandwidth(count: int, *, repeats: int) -> float:
    source = torch.ones(count, dtype=torch.uint8)
    target = torch.empty_like(source)
    return 2 * count / _best_seconds(partial(target.copy_, source), repeats=repeats) / 1e9


def _products(size: int, *, threads: int) -> Iterator[tuple[str, str, Callable[[], object]]]:
    """Precision, engine, and a product of two matrices [size,size], the right one constant."""
    drawn = np.random.default_rng(0).standard_normal((2, size, size), dtype=np.float32)
    left, right = drawn
    for precision, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        pair = torch.from_numpy(drawn).to(dtype)
        yield precision, "torch", partial(torch.mm, pair[0], pair[1], out=torch.empty_like(pair[0]))
    if find_spec("openvino"):
        for precision, hint in (("fp32", "f32"), ("bf16", "bf16")):
            yield precision, "openvino", _openvino(float_product(right), left, hint, threads)
        yield "int8", "openvino", _openvino(int8_product(right), left, "f32", threads)
    if find_spec("onnxruntime"):
        yield "fp32", "onnxruntime", _onnxruntime(float_product(right), left, threads)
        yield "int8", "onnxruntime", _onnxruntime(int8_product(right), left, threads)


def float_product(right: np.ndarray) -> onnx.ModelProto:
    """A graph that multiplies `left` by a constant, both float32 [size,size]."""
    nodes = [helper.make_node("MatMul", ["left", "right"], ["product"])]
    return _model(nodes, {"right": right}, size=len(right))


def int8_product(right: np.ndarray) -> onnx.ModelProto:
    """The same between quantised tensors, uint8 by int8, in QDQ form; float32 in and out."""
    steps = {"left_scale": 12 / 255, "right_scale": float(np.abs(right).max() / 127)}
    constants = {
        "right_q": np.clip(np.rint(right / steps["right_scale"]), -127, 127).astype(np.int8),
        "left_zero": np.array(128, np.uint8),
        "right_zero": np.array(0, np.int8),
        **{name: np.array(step, np.float32) for name, step in steps.items()},
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["left", "left_scale", "left_zero"], ["left_q"]),
        helper.make_node("DequantizeLinear", ["left_q", "left_scale", "left_zero"], ["left_d"]),
        helper.make_node("DequantizeLinear", ["right_q", "right_scale", "right_zero"], ["right_d"]),
        helper.make_node("MatMul", ["left_d", "right_d"], ["product"]),
    ]
    return _model(nodes, constants, size=len(right))


def _model(
    nodes: list[onnx.NodeProto], constants: dict[str, np.ndarray], *, size: int
) -> onnx.ModelProto:
    square = [size, size]
    graph = helper.make_graph(
        nodes,
        "product",
        [helper.make_tensor_value_info("left", TensorProto.FLOAT, square)],
        [helper.make_tensor_value_info("product", TensorProto.FLOAT, square)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _onnxruntime(model: onnx.ModelProto, left: np.ndarray, threads: int) -> Callable[[], Any]:
    onnxruntime = import_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return partial(session.run, None, {"left": left})


def _openvino(
    model: onnx.ModelProto, left: np.ndarray, precision: str, threads: int
) -> Callable[[], Any]:
    openvino = import_openvino()
    core = openvino.Core()
    compiled = core.compile_model(
        core.read_model(model.SerializeToString()),
        "CPU",
        {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": threads},
    )
    request = compiled.create_infer_request()
    request.set_input_tensor(openvino.Tensor(left, shared_memory=True))
    return request.infer
