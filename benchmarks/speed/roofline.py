"""How much of the machine each graph uses: its operations and bytes against measured peaks.

Operations are those of matrix products and convolutions, counted on the exported modules with
torch's meta tensors, which have shapes and no values; a multiplication and an addition are two.
Bytes are what must move at least: the weights, and what goes into the graph and comes out of it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.speed.peaks import MachinePeaks
from export.graphs import Graph, build_graphs
from samclip_sdk.bundle.graph_spec import TensorSpec
from samclip_sdk.modeling.build import SamClipModel
from samclip_sdk.modeling.config import ModelConfig

aten = torch.ops.aten

WEIGHT_BYTES = {"fp32": 4, "bf16": 2, "fp16": 2, "int8": 1}
"""Of one parameter, by precision."""

_WEIGHT_PRODUCTS = frozenset({aten.mm, aten.addmm, aten.convolution})


@dataclass(frozen=True)
class GraphCost:
    """What one run of a graph takes.

    Attributes:
        graph: its name without the resolution, as in the SDK's `speed`.
        weight_flop: operations with weights, which int8 graphs do in int8.
        attention_flop: those of attention, which no graph of ours does in int8.
        parameters: how many numbers its weights are, without tables whose rows are looked up.
        activation_bytes: of its inputs and outputs, in the contract's types.
    """

    graph: str
    weight_flop: int
    attention_flop: int
    parameters: int
    activation_bytes: int

    @property
    def flop(self) -> int:
        """All operations."""
        return self.weight_flop + self.attention_flop

    def moved_bytes(self, precision: str) -> int:
        """Weights in that precision, inputs and outputs."""
        return self.parameters * WEIGHT_BYTES[precision] + self.activation_bytes


@dataclass(frozen=True)
class RooflineRow:
    """A graph's measured time against the machine's peaks.

    Attributes:
        cost: of one run.
        ms: measured, of one run.
        gflops: reached, 10^9 operations a second.
        of_peak: that the matrix peak of its precision would take, of the measured time.
        of_limit: likewise, with attention at the peak of the precision that it is computed in.
        bound: what limits it on this machine, "compute" or "memory".
    """

    cost: GraphCost
    ms: float
    gflops: float
    of_peak: float
    of_limit: float
    bound: str


def count_graphs(
    config: ModelConfig, *, resolution: int, texts: int = 1, prompts: int = 1, points: int = 2
) -> list[GraphCost]:
    """Counts every graph of a model.

    Args:
        config: the model's, as in a bundle's manifest.
        resolution: pixels; of image_encoder and clip_head. The prompt encoder and the mask decoder
            have the segmentation resolution.
        texts: that the text encoder sees at once.
        prompts: that the mask decoder answers at once (K).
        points: of a prompt, SAM's padding point counted (P).

    Raises:
        ValueError: the model does not run at that resolution.
    """
    axes = {"num_texts": texts, "num_prompts": prompts, "num_points": points}
    with torch.device("meta"), torch.no_grad():
        graphs = build_graphs(SamClipModel(config), resolutions=[resolution])
        return [_count(graph, axes) for graph in graphs]


def roofline(
    costs: Sequence[GraphCost],
    times_ms: Mapping[str, float],
    *,
    machine: MachinePeaks,
    precision: str,
    attention: str,
) -> list[RooflineRow]:
    """Holds measured times against the peaks.

    Args:
        costs: of the graphs; those without a time are left out.
        times_ms: of one run of a graph, by its name, such as a `speed` of the SDK.
        machine: its peaks, measured with as many threads.
        precision: of the graphs' weights, and of the products with them.
        attention: the precision that attention is computed in.

    Raises:
        ValueError: the machine has no peak of a precision.
    """
    for each in (precision, attention):
        if each not in machine.matrix:
            known = ", ".join(sorted(machine.matrix))
            raise ValueError(f"no peak was measured in {each!r}: there are {known}")
    peak, slower = (1e9 * machine.matrix[each].gflops for each in (precision, attention))
    rows = []
    for cost in costs:
        if cost.graph not in times_ms:
            continue
        seconds = times_ms[cost.graph] / 1000
        compute_s = cost.weight_flop / peak + cost.attention_flop / slower
        memory_s = cost.moved_bytes(precision) / (1e9 * machine.bandwidth_gbps)
        rows.append(
            RooflineRow(
                cost=cost,
                ms=times_ms[cost.graph],
                gflops=cost.flop / seconds / 1e9,
                of_peak=cost.flop / peak / seconds,
                of_limit=compute_s / seconds,
                bound="compute" if compute_s >= memory_s else "memory",
            )
        )
    return rows


def _count(graph: Graph, axes: Mapping[str, int]) -> GraphCost:
    inputs = [_empty(spec, axes) for spec in graph.inputs]
    outputs = [_empty(spec, axes) for spec in graph.outputs]
    looked_up = {
        id(module.weight) for module in graph.module.modules() if isinstance(module, nn.Embedding)
    }
    with FlopCounterMode(display=False) as counter:
        graph.module(*inputs)
    flop = counter.get_flop_counts()["Global"]
    with_weights = sum(count for op, count in flop.items() if op in _WEIGHT_PRODUCTS)
    return GraphCost(
        graph=graph.part,
        weight_flop=with_weights,
        attention_flop=sum(flop.values()) - with_weights,
        parameters=sum(
            parameter.numel()
            for parameter in graph.module.parameters()
            if id(parameter) not in looked_up
        ),
        activation_bytes=sum(tensor.nbytes for tensor in (*inputs, *outputs)),
    )


def _empty(spec: TensorSpec, axes: Mapping[str, int]) -> Tensor:
    shape = [axes[length] if isinstance(length, str) else length for length in spec.shape]
    # Not torch.empty(*shape): a scalar has no axes.
    return torch.empty(math.prod(shape), dtype=getattr(torch, spec.dtype)).reshape(shape)
