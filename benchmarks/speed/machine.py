"""What this machine can do at most, and how much of it each graph uses.

At most: matrix products in each precision, and copying memory. The best of several engines, sizes
and repeats counts: a share of it that a model reaches is then not flattered by a poor peak.

A graph: its operations, those of matrix products and convolutions, are counted on the exported
modules with torch's meta tensors, which have shapes and no values; a multiplication and an addition
are two. Its bytes are what must move at least: the weights, and what goes in and comes out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from importlib.util import find_spec

import numpy as np
import onnx.parser
import torch
from onnx import numpy_helper
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.speed.record import Cost, Machine, MachineShare, Peak, Spread
from export.graphs import Graph, build_graphs
from samclip_sdk.bundle.graph_spec import TensorSpec
from samclip_sdk.modeling.build import SamClipModel
from samclip_sdk.modeling.config import ModelConfig
from samclip_sdk.runtimes.importing import import_onnxruntime, import_openvino
from samclip_sdk.runtimes.openvino import DEVICE, openvino_core
from samclip_sdk.timing import elapsed_ms

Run = Callable[[], object]


def measure_peaks(
    *,
    threads: int,
    sizes: Sequence[int] = (1024, 2048, 3072),
    repeats: int = 5,
    copy_bytes: int = 2**28,
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
    float_graph = _graph("product = MatMul(left, right)", size, right=right)
    int8_graph = int8_product(right)
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


def _graph(nodes: str, size: int, **constants: np.ndarray) -> bytes:
    """An ONNX file that makes `product` of `left`, both float32 [size,size], and of constants."""
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 17]>'
        f"graph (float[{size},{size}] left) => (float[{size},{size}] product) {{ {nodes} }}"
    )
    given = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    model.graph.initializer.extend(given)
    return model.SerializeToString()


def _onnxruntime(model: bytes, left: np.ndarray, threads: int) -> Run:
    onnxruntime = import_onnxruntime()
    options, provider = onnxruntime.SessionOptions(), ["CPUExecutionProvider"]
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(model, options, providers=provider)
    return partial(session.run, None, {"left": left})


def _openvino(model: bytes, left: np.ndarray, precision: str, threads: int) -> Run:
    core = openvino_core()
    hints = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": threads}
    compiled = core.compile_model(core.read_model(model), DEVICE, hints)
    request = compiled.create_infer_request()
    request.set_input_tensor(import_openvino().Tensor(left, shared_memory=True))
    return request.infer


aten = torch.ops.aten

_WEIGHT_PRODUCTS = frozenset({aten.mm, aten.addmm, aten.convolution})


def count_graphs(
    config: ModelConfig, *, resolution: int, texts: int = 1, prompts: int = 1, points: int = 2
) -> list[Cost]:
    """Counts every graph of a model, with so many texts, and prompts of so many points, at once.

    The resolution, in pixels, is of image_encoder and clip_head; the prompt encoder and the mask
    decoder have the segmentation resolution. SAM's padding point is one of a prompt's.

    Raises:
        ValueError: the model does not run at that resolution.
    """
    axes = {"num_texts": texts, "num_prompts": prompts, "num_points": points}
    with torch.device("meta"), torch.no_grad():
        graphs = build_graphs(SamClipModel(config), resolutions=[resolution])
        return [_count(graph, axes) for graph in graphs]


def share_of_machine(
    cost: Cost, spread: Spread, *, machine: Machine, runtime: str, precision: str, attention: str
) -> MachineShare:
    """Holds the time of one run of a graph against peaks of as many threads.

    `precision` is of the graph's weights, and of the products with them; attention has its own.

    Raises:
        ValueError: the machine has no peak of a precision.
    """
    best = machine.best()
    if missing := [each for each in (precision, attention) if each not in best]:
        known = ", ".join(sorted(best))
        raise ValueError(f"no peak was measured in {missing[0]!r}: there are {known}")
    peak, slower = (1e9 * best[each].gflops for each in (precision, attention))
    seconds, flop = spread.p50_ms / 1000, cost.weight_flop + cost.attention_flop
    compute_s = cost.weight_flop / peak + cost.attention_flop / slower
    memory_s = cost.moved_bytes(precision) / (1e9 * machine.bandwidth_gbps)
    return MachineShare(
        runtime=runtime,
        precision=precision,
        attention=attention,
        graph=cost.graph,
        spread=spread,
        gflops=flop / seconds / 1e9,
        of_peak=flop / peak / seconds,
        of_limit=compute_s / seconds,
        bound="compute" if compute_s >= memory_s else "memory",
    )


def _count(graph: Graph, axes: Mapping[str, int]) -> Cost:
    inputs = [_empty(spec, axes) for spec in graph.inputs]
    outputs = [_empty(spec, axes) for spec in graph.outputs]
    looked_up = {
        id(module.weight) for module in graph.module.modules() if isinstance(module, nn.Embedding)
    }
    with FlopCounterMode(display=False) as counter:
        graph.module(*inputs)
    flop = counter.get_flop_counts()["Global"]
    with_weights = sum(count for op, count in flop.items() if op in _WEIGHT_PRODUCTS)
    parameters = (each for each in graph.module.parameters() if id(each) not in looked_up)
    return Cost(
        graph=graph.part,
        weight_flop=with_weights,
        attention_flop=sum(flop.values()) - with_weights,
        parameters=sum(each.numel() for each in parameters),
        activation_bytes=sum(tensor.nbytes for tensor in (*inputs, *outputs)),
    )


def _empty(spec: TensorSpec, axes: Mapping[str, int]) -> Tensor:
    shape = [axes[length] if isinstance(length, str) else length for length in spec.shape]
    # Not torch.empty(*shape): a scalar has no axes.
    return torch.empty(math.prod(shape), dtype=getattr(torch, spec.dtype)).reshape(shape)
