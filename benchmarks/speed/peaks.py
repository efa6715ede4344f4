"""What this machine can do at most: matrix products in each precision, and copying memory.

The best of several engines, sizes and repeats counts: a share of it that a model reaches is then
not flattered by a poor measurement of the peak.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib.util import find_spec

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from benchmarks.speed.record import Machine, Peak
from samclip_sdk.runtimes.importing import import_onnxruntime, import_openvino
from samclip_sdk.runtimes.openvino import DEVICE, openvino_core
from samclip_sdk.timing import elapsed_ms

SIZES = (1024, 2048, 3072)
REPEATS = 5
COPY_BYTES = 2**28

Run = Callable[[], object]


def measure_peaks(
    *,
    threads: int,
    sizes: Sequence[int] = SIZES,
    repeats: int = REPEATS,
    copy_bytes: int = COPY_BYTES,
) -> Machine:
    """Measures this machine, with the engines that are installed; torch always is.

    Matrices are square. One run does not count, and of `repeats` the fastest does. Far more is
    copied than the caches hold.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        products = []
        for size in sizes:
            for precision, engine, run in _products(size, threads=threads):
                gflops = 2 * size**3 / _best_seconds(run, repeats=repeats) / 1e9
                products.append(Peak(precision=precision, engine=engine, size=size, gflops=gflops))
        source = torch.ones(copy_bytes, dtype=torch.uint8)
        copy = partial(torch.empty_like(source).copy_, source)
        bandwidth = 2 * copy_bytes / _best_seconds(copy, repeats=repeats) / 1e9
    finally:
        torch.set_num_threads(before)
    ranked = sorted(products, key=lambda product: product.gflops)
    best = {(product.precision, product.engine): product for product in ranked}
    return Machine(threads=threads, peaks=tuple(best.values()), bandwidth_gbps=bandwidth)


def _best_seconds(run: Run, *, repeats: int) -> float:
    run()
    return min(elapsed_ms(run) for _ in range(repeats)) / 1000


def _products(size: int, *, threads: int) -> Iterator[tuple[str, str, Run]]:
    """Precision, engine, and a product of two matrices [size,size], the right one constant."""
    drawn = np.random.default_rng(0).standard_normal((2, size, size), dtype=np.float32)
    left, right = drawn
    float_graph, int8_graph = float_product(right), int8_product(right)
    for precision, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        pair = torch.from_numpy(drawn).to(dtype)
        yield precision, "torch", partial(torch.mm, pair[0], pair[1], out=torch.empty_like(pair[0]))
    if find_spec("openvino"):
        for precision, hint in (("fp32", "f32"), ("bf16", "bf16")):
            yield precision, "openvino", _openvino(float_graph, left, hint, threads)
        yield "int8", "openvino", _openvino(int8_graph, left, "f32", threads)
    if find_spec("onnxruntime"):
        yield "fp32", "onnxruntime", _onnxruntime(float_graph, left, threads)
        yield "int8", "onnxruntime", _onnxruntime(int8_graph, left, threads)


def float_product(right: np.ndarray) -> onnx.ModelProto:
    """A graph that multiplies `left` by a constant, both float32 [size,size]."""
    nodes = [helper.make_node("MatMul", ["left", "right"], ["product"])]
    return _model(nodes, {"right": right}, size=len(right))


def int8_product(right: np.ndarray) -> onnx.ModelProto:
    """The same between quantised tensors, uint8 by int8, in QDQ form; float32 in and out."""
    right_scale = float(np.abs(right).max() / 127)
    constants = {
        "left_scale": np.array(12 / 255, np.float32),
        "right_scale": np.array(right_scale, np.float32),
        "left_zero": np.array(128, np.uint8),
        "right_zero": np.array(0, np.int8),
        "right_q": np.clip(np.rint(right / right_scale), -127, 127).astype(np.int8),
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
    left, product = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [size, size])
        for name in ("left", "product")
    )
    initializers = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "product", [left], [product], initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _onnxruntime(model: onnx.ModelProto, left: np.ndarray, threads: int) -> Run:
    onnxruntime = import_onnxruntime()
    options, provider = onnxruntime.SessionOptions(), ["CPUExecutionProvider"]
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=provider)
    return partial(session.run, None, {"left": left})


def _openvino(model: onnx.ModelProto, left: np.ndarray, precision: str, threads: int) -> Run:
    core = openvino_core()
    hints = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": threads}
    compiled = core.compile_model(core.read_model(model.SerializeToString()), DEVICE, hints)
    request = compiled.create_infer_request()
    request.set_input_tensor(import_openvino().Tensor(left, shared_memory=True))
    return request.infer
