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
from typing import NamedTuple

import numpy as np
import onnx.parser
import torch
from onnx import numpy_helper
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.intervals import Estimate
from benchmarks.speed.measure import HowLong, Subject, measure_subjects, summarize
from benchmarks.speed.published import SMALL_PEERS, Run, find_runs, sdk_spec, verify_sets
from benchmarks.suite import Measuring
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

VIT_B = "samclip-vit-b"
"""The folder of the bundle: its name is that of its subjects."""

BEST_RUN = ("openvino", "int8")
"""The path on a CPU that the bars call the best."""

RESOLUTIONS = (224, 336, 448, 672, 1024)
SAM_CLIP_TORCH = "sam+openclip-vit-l-14-fp32-k10"
LARGE_PEERS = (
    "sam-onnx-l",
    "sam+openclip-l",
    "sam+openclip-l,precision=bf16",
    "sam-onnx-l,arena=false",
    "sam+openclip,proposals=50",
)
_WEIGHT_BYTES = {"fp32": 4, "bf16": 2, "fp16": 2, "int8": 1}
_ONCE = ("image_encoder", "clip_head")  # graphs that run once in the three-way workload


class Cost(NamedTuple):
    """What one run of a graph takes.

    `graph` is its name without the resolution. `weight_flop` are operations with weights, which
    int8 graphs do in int8, `attention_flop` those of attention, which no graph of ours does in
    int8. `parameters` counts the numbers of its weights, without tables whose rows are looked up;
    `activation_bytes` is of its inputs and outputs, in the contract's types.
    """

    graph: str
    weight_flop: int
    attention_flop: int
    parameters: int
    activation_bytes: int

    def moved_bytes(self, precision: str) -> int:
        """What must move at least: weights in that precision, inputs and outputs."""
        return self.parameters * _WEIGHT_BYTES[precision] + self.activation_bytes


class Peak(NamedTuple):
    """The most that an engine did in a precision: two square matrices of `size`."""

    precision: str
    engine: str
    size: int
    gflops: float


class Machine(NamedTuple):
    """What the machine can do at most; the bandwidth is of a large copy, bytes read and written."""

    peaks: Sequence[Peak]
    bandwidth_gbps: float

    def best(self, precision: str) -> float:
        """Operations a second of the best engine."""
        return 1e9 * max(each.gflops for each in self.peaks if each.precision == precision)


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
                products.append(Peak(precision, engine, size, gflops))
        source = torch.ones(copy_bytes, dtype=torch.uint8)
        copy = partial(torch.empty_like(source).copy_, source)
        bandwidth = 2 * copy_bytes / _best_seconds(copy, repeats=repeats) / 1e9
    finally:
        torch.set_num_threads(before)
    return Machine(products, bandwidth)


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


def vit_b_specs(vit_b: Path, runs: Sequence[Run]) -> tuple[str, ...]:
    """The subjects of ViT-B's table. Those that the bars compare are near one another."""
    return (
        *(f"{sdk_spec(vit_b, BEST_RUN)},labels={count}" for count in (30, 150)),
        *(sdk_spec(vit_b, run) for run in reversed(runs)),
        *LARGE_PEERS,
        *reversed(SMALL_PEERS),
    )


def encoder_spec(spec: str, resolutions: Sequence[int], *, threads: int) -> str:
    """Of a subject of the SDK the image encoder alone, at each resolution in pixels."""
    return f"{spec},skill=encoder,threads={threads},resolutions={'+'.join(map(str, resolutions))}"


def series_specs(vit_b: Path, runs: Sequence[Run], *, threads: Sequence[int]) -> Iterator[str]:
    """Of ViT-B the image encoder by resolution, its largest by threads, and box prompts."""
    for run in runs:
        for count in threads:
            sizes = RESOLUTIONS if count == max(threads) else RESOLUTIONS[-1:]
            yield encoder_spec(sdk_spec(vit_b, run), sizes, threads=count)
    yield f"{sdk_spec(vit_b, BEST_RUN)},skill=boxes"


def measure_vit_b(measured: Measuring, folder: Path, *, how: HowLong, cores: int) -> None:
    """ViT-B beside its peers, at most with as many threads as cores; then the machine.

    The bundle is in the folder, or it is exported there.
    """
    vit_b = folder / VIT_B
    prepare_bundle(vit_b, say=measured.say)
    runs = tuple(verify_sets(measured, vit_b, find_runs()))
    subjects = measure_subjects(measured, vit_b_specs(vit_b, runs), how=how)
    series = tuple(series_specs(vit_b, runs, threads=range(1, 1 + cores)))
    for subject in (*subjects, *measure_subjects(measured, series, how=how)):
        subject.add_to(measured)
    measured.say("measuring the machine's peaks")
    machine, manifest = measure_peaks(threads=cores), open_bundle(vit_b).manifest
    for peak in machine.peaks:
        measured.add("machine", f"{peak.precision} {peak.engine} {peak.size}", gflops=peak.gflops)
    measured.add("machine", "copy", gb_per_s=machine.bandwidth_gbps)
    costs = count_graphs(manifest.model, resolution=manifest.tasks.segmentation.resolution)
    for cost in costs:
        moved = {f"moved_bytes_{each}": cost.moved_bytes(each) for each in ("fp32", "int8")}
        measured.add(cost.graph, "graph", **{**cost._asdict(), "graph": None}, **moved)
    attention = {"-".join((VIT_B, *run)): float_precision(*run) for run in runs}
    measured.settings["machine"] = {"threads": cores, "attention": attention}
    for run in runs:
        for cost in costs:
            add_share(measured, cost, subjects, run=run, machine=machine)


def add_share(
    measured: Measuring,
    cost: Cost,
    subjects: Sequence[Subject],
    *,
    run: Run,
    machine: Machine,
) -> None:
    """Holds the time of a graph in a run against peaks of as many threads.

    The precision is of the graph's weights, and of the products with them; attention has its own.
    Subjects that differ in their labels alone run the same graphs: the median of theirs counts. The
    limit is what peaks allow, with attention at the peak of its own precision.
    """
    key, precision = "-".join((VIT_B, *run)), run[1]
    own = [each.steps.get(cost.graph) for each in subjects if each.name.startswith(key)]
    times = [summarize(rounds)["ms"] for rounds in own if rounds]
    if cost.graph not in _ONCE or not times:
        return
    lows, highs = [each.low for each in times], [each.high for each in times]
    ms = Estimate(median(each.value for each in times), min(lows), max(highs))
    peak, slower = machine.best(precision), machine.best(float_precision(*run))
    flop = cost.weight_flop + cost.attention_flop
    measured.add(
        key,
        f"{cost.graph} of the machine",
        ms=ms,
        gflops=flop / ms.value / 1e6,
        of_peak=1000 * flop / peak / ms.value,
        limit_ms=1000 * (cost.weight_flop / peak + cost.attention_flop / slower),
        memory_ms=cost.moved_bytes(precision) / machine.bandwidth_gbps / 1e6,
    )


def prepare_bundle(folder: Path, *, say: Callable[[str], None]) -> None:
    """Exports ViT-B with random weights at all resolutions, if the folder does not have it."""
    if (folder / MANIFEST_NAME).is_file():
        graphs = open_bundle(folder).manifest.graphs
        if all(f"image_encoder@{each}" in graphs for each in RESOLUTIONS):
            return
    folder.parent.mkdir(parents=True, exist_ok=True)
    write_bundle(
        find_source("random:vit_b"),
        folder,
        options=ExportOptions(onnx=("fp32", "int8"), resolutions=RESOLUTIONS),
        on_progress=lambda doing, done, total: say(f"exporting ViT-B: {doing}, {done} of {total}"),
    )


def float_precision(runtime: str, precision: str) -> str:
    """In what a set computes that is not in int8."""
    if precision != "int8":
        return precision
    return "bf16" if runtime == "openvino" and computes_bf16() else "fp32"
