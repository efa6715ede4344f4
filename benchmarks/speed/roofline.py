"""How much of the machine each graph uses: its operations and bytes against measured peaks.

Operations are those of matrix products and convolutions, counted on the exported modules with
torch's meta tensors, which have shapes and no values; a multiplication and an addition are two.
Bytes are what must move at least: the weights, and what goes into the graph and comes out of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.speed.record import Cost, Machine, MachineShare, Spread
from export.graphs import Graph, build_graphs
from samclip_sdk.bundle.graph_spec import TensorSpec
from samclip_sdk.modeling.build import SamClipModel
from samclip_sdk.modeling.config import ModelConfig

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


def shares_of_machine(
    costs: Sequence[Cost],
    times: Mapping[str, Spread],
    *,
    machine: Machine,
    runtime: str,
    precision: str,
    attention: str,
) -> Iterator[MachineShare]:
    """Holds times of one run of a graph, by its name, against peaks of as many threads.

    `precision` is of the graphs' weights, and of the products with them; attention has its own.

    Raises:
        ValueError: the machine has no peak of a precision.
    """
    best = machine.best()
    if missing := [each for each in (precision, attention) if each not in best]:
        known = ", ".join(sorted(best))
        raise ValueError(f"no peak was measured in {missing[0]!r}: there are {known}")
    peak, slower = (1e9 * best[each].gflops for each in (precision, attention))
    for cost in costs:
        if cost.graph not in times:
            continue
        seconds = times[cost.graph].p50_ms / 1000
        flop = cost.weight_flop + cost.attention_flop
        compute_s = cost.weight_flop / peak + cost.attention_flop / slower
        memory_s = cost.moved_bytes(precision) / (1e9 * machine.bandwidth_gbps)
        yield MachineShare(
            runtime=runtime,
            precision=precision,
            attention=attention,
            graph=cost.graph,
            spread=times[cost.graph],
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
