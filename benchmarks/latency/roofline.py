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

from benchmarks.latency.peaks import MachinePeaks
from export.graphs import Graph, build_graphs
from samclip_sdk.graph_spec import TensorSpec
from samclip_sdk.modeling.build import SamClipModel
from samclip_sdk.modeling.config import ModelConfig

WEIGHT_BYTES = {"fp32": 4, "bf16": 2, "fp16": 2, "int8": 1}
"""Of one parameter, by precision."""


@dataclass(frozen=True)
class GraphCost:
    """What one run of a graph takes.

    Attributes:
        graph: its name without the resolution, as in the SDK's `speed`.
        flop: operations.
        parameters: how many numbers its weights are, without tables whose rows are looked up.
        activation_bytes: of its inputs and outputs, in the contract's types.
    """

    graph: str
    flop: int
    parameters: int
    activation_bytes: int

    def moved_bytes(self, precision: str) -> int:
        """Weights in that precision, inputs and outputs."""
        return self.parameters * WEIGHT_BYTES[precision] + self.activation_bytes


@dataclass(frozen=True)
class RooflineRow:
    """A graph's measured time against the machine's peaks.

    Attributes:
        cost: of one run.
        precision: whose peak it is held against.
        ms: measured, of one run.
        gflops: reached, 10^9 operations a second.
        share: of the matrix peak, FLOP / (time x peak).
        bandwidth_share: of the copy's bandwidth, bytes / (time x bandwidth).
        bound: what limits it on this machine, "compute" or "memory".
        roof_ms: the time that the limit alone would take.
    """

    cost: GraphCost
    precision: str
    ms: float
    gflops: float
    share: float
    bandwidth_share: float
    bound: str
    roof_ms: float


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
) -> list[RooflineRow]:
    """Holds measured times against the peaks.

    Args:
        costs: of the graphs; those without a time are left out.
        times_ms: of one run of a graph, by its name, such as a `speed` of the SDK.
        machine: its peaks, measured with as many threads.
        precision: that the graphs computed in, and that their weights have.

    Raises:
        ValueError: the machine has no peak of the precision.
    """
    if precision not in machine.matrix:
        known = ", ".join(sorted(machine.matrix))
        raise ValueError(f"no peak was measured in {precision!r}: there are {known}")
    return [
        _row(cost, times_ms[cost.graph], machine=machine, precision=precision)
        for cost in costs
        if cost.graph in times_ms
    ]


def render_roofline(rows: Sequence[RooflineRow], *, machine: MachinePeaks) -> str:
    """A Markdown table of the rows, and a line of what they are held against."""
    lines = [
        "| graph | GFLOP | MB moved at least | ms | GFLOP/s | of the matrix peak "
        "| of the bandwidth | bound by | ms at the roof |",
        "|---|---:|---:|---:|---:|---:|---:|---|---:|",
    ]
    lines += [
        f"| {row.cost.graph} | {row.cost.flop / 1e9:.2f} "
        f"| {row.cost.moved_bytes(row.precision) / 1e6:.1f} | {row.ms:.1f} | {row.gflops:.1f} "
        f"| {row.share:.0%} | {row.bandwidth_share:.0%} | {row.bound} | {row.roof_ms:.2f} |"
        for row in rows
    ]
    peaks = ", ".join(
        f"{peak.gflops:.0f} GFLOP/s in {peak.precision} ({peak.engine}, {peak.size} x {peak.size})"
        for _, peak in sorted(machine.matrix.items())
    )
    lines.append(
        f"\nPeaks measured with {machine.threads} threads: {peaks}; "
        f"a copy moves {machine.bandwidth_gbps:.1f} GB/s, read and written."
    )
    return "\n".join(lines)


def _row(cost: GraphCost, ms: float, *, machine: MachinePeaks, precision: str) -> RooflineRow:
    compute_s = cost.flop / (machine.matrix[precision].gflops * 1e9)
    memory_s = cost.moved_bytes(precision) / (machine.bandwidth_gbps * 1e9)
    seconds = ms / 1000
    return RooflineRow(
        cost=cost,
        precision=precision,
        ms=ms,
        gflops=cost.flop / seconds / 1e9,
        share=compute_s / seconds,
        bandwidth_share=memory_s / seconds,
        bound="compute" if compute_s >= memory_s else "memory",
        roof_ms=1000 * max(compute_s, memory_s),
    )


def _count(graph: Graph, axes: Mapping[str, int]) -> GraphCost:
    inputs = [_empty(spec, axes) for spec in graph.inputs]
    outputs = [_empty(spec, axes) for spec in graph.outputs]
    looked_up = {
        id(module.weight) for module in graph.module.modules() if isinstance(module, nn.Embedding)
    }
    with FlopCounterMode(display=False) as counter:
        graph.module(*inputs)
    return GraphCost(
        graph=graph.part,
        flop=counter.get_total_flops(),
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
