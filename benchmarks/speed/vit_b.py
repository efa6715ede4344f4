"""The measurement of a ViT-B at 1024 px, and how much of what this machine can do it uses.

Weights are random, since they change no time. The machine's most, in matrix products of each
precision and in copying memory, is the best of several engines, sizes and repeats: a share of it is
then not flattered by a poor peak. A graph's operations, those of matrix products and convolutions,
are counted on the exported modules with torch's meta tensors, which have shapes and no values; a
multiplication and an addition are two.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import onnx.parser
import torch
from onnx import numpy_helper
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.speed import published, record
from benchmarks.speed.published import Measure, Run, Say
from benchmarks.speed.record import Cost, Machine, MachineShare, Peak, Spread
from export.bundle_writer import write_bundle
from export.graphs import Graph, build_graphs
from export.options import ExportOptions
from export.source import find_source
from samclip_sdk.bundle.graph_spec import TensorSpec
from samclip_sdk.bundle.manifest import MANIFEST_NAME
from samclip_sdk.bundle.open import open_bundle
from samclip_sdk.modeling.build import SamClipModel
from samclip_sdk.modeling.config import ModelConfig
from samclip_sdk.runtimes.openvino.session import DEVICE, computes_bf16, openvino_core
from samclip_sdk.system.packages import import_onnxruntime, import_openvino
from samclip_sdk.system.timing import elapsed_ms

Task = Callable[[], object]


def measure_peaks(
    *,
    threads: int,
    sizes: Sequence[int] = (1024, 2048, 3072),
    repeats: int = 5,
    copy_bytes: int = 2**28,
) -> Machine:
    """Measures this machine with torch, onnxruntime, and OpenVINO if that is installed.

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


def _best_seconds(run: Task, *, repeats: int) -> float:
    run()
    return min(elapsed_ms(run) for _ in range(repeats)) / 1000


def _products(size: int, *, threads: int) -> Iterator[tuple[str, str, Task]]:
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


def _onnxruntime(model: bytes, left: np.ndarray, threads: int) -> Task:
    onnxruntime = import_onnxruntime()
    options, provider = onnxruntime.SessionOptions(), ["CPUExecutionProvider"]
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(model, options, providers=provider)
    return partial(session.run, None, {"left": left})


def _openvino(model: bytes, left: np.ndarray, precision: str, threads: int) -> Task:
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
    """
    axes = {"num_texts": texts, "num_prompts": prompts, "num_points": points}
    with torch.device("meta"), torch.no_grad():
        graphs = build_graphs(SamClipModel(config), resolutions=[resolution])
        return [_count_graph(graph, axes) for graph in graphs]


def share_of_machine(cost: Cost, spread: Spread, *, machine: Machine, run: Run) -> MachineShare:
    """Holds the time of a graph on a runtime and in a precision against peaks of as many threads.

    The precision is of the graph's weights, and of the products with them; attention has its own.
    """
    (runtime, precision), attention, best = run, float_precision(*run), machine.best()
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


def _count_graph(graph: Graph, axes: Mapping[str, int]) -> Cost:
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
    return torch.empty(shape, dtype=getattr(torch, spec.dtype))


def measure_vit_b(
    folder: Path, *, measure: Measure, cores: int, say: Say, tell: Say
) -> dict[str, Any]:
    """The fields of ViT-B's record that are its own, with at most as many threads as cores.

    The bundle is in the folder, or it is exported there; `tell` is as of `verify_sets`.
    """
    vit_b = folder / published.VIT_B
    prepare_bundle(vit_b, say=say)
    reports, unverified = published.verify_sets(vit_b, published.find_runs(), say=say, tell=tell)
    runs = tuple(reports)
    subjects, failures = measure(published.vit_b_specs(vit_b, runs))
    threads = range(1, 1 + cores)
    series, others = measure(tuple(published.series_specs(vit_b, runs, threads=threads)))
    say("measuring the machine's peaks")
    machine, manifest = measure_peaks(threads=cores), open_bundle(vit_b).manifest
    costs = count_graphs(manifest.model, resolution=manifest.tasks.segmentation.resolution)
    return {
        "subjects": subjects,
        "failures": (*unverified, *failures, *others),
        "series": tuple(
            record.SeriesPoint(subject=row.key, workload=each.workload, spread=each.spread)
            for row in series
            for each in row.workloads
        ),
        "machine": machine,
        "costs": tuple(costs),
        "shares": tuple(shares_of_sets(subjects, runs=runs, costs=costs, machine=machine)),
    }


def prepare_bundle(folder: Path, *, say: Say) -> None:
    """Exports ViT-B with random weights at all resolutions, if the folder does not have it."""
    if (folder / MANIFEST_NAME).is_file():
        graphs = open_bundle(folder).manifest.graphs
        if all(f"image_encoder@{each}" in graphs for each in published.RESOLUTIONS):
            return
    folder.parent.mkdir(parents=True, exist_ok=True)
    write_bundle(
        find_source("random:vit_b"),
        folder,
        options=ExportOptions(onnx=("fp32", "int8"), resolutions=published.RESOLUTIONS),
        on_progress=lambda doing, done, total: say(f"exporting ViT-B: {doing}, {done} of {total}"),
    )


def shares_of_sets(
    subjects: Sequence[record.SubjectRow],
    *,
    runs: Sequence[Run],
    costs: Sequence[record.Cost],
    machine: record.Machine,
) -> Iterator[record.MachineShare]:
    """What the graphs that run once in the three-way workload reach of the machine, in each run.

    Subjects that differ in their labels alone run the same graphs: the median of theirs counts.
    """
    for run in runs:
        key = "-".join((published.VIT_B, *run))
        steps = [row.steps for row in subjects if row.key.startswith(key)]
        for cost in costs:
            spreads = [each[cost.graph].spread for each in steps if cost.graph in each]
            if cost.graph in ("image_encoder", "clip_head") and spreads:
                yield share_of_machine(cost, pool(spreads), machine=machine, run=run)


def pool(spreads: Sequence[record.Spread]) -> record.Spread:
    """The median of medians, between the least and the greatest of all limits."""
    low, high = min(each.low_ms for each in spreads), max(each.high_ms for each in spreads)
    return record.Spread(p50_ms=median(each.p50_ms for each in spreads), low_ms=low, high_ms=high)


def float_precision(runtime: str, precision: str) -> str:
    """In what a set computes that is not in int8."""
    if precision != "int8":
        return precision
    return "bf16" if runtime == "openvino" and computes_bf16() else "fp32"
