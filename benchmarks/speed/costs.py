"""What the graphs of a model take, counted on the exported modules with torch's meta tensors.

These have shapes and no values. Operations are those of matrix products and convolutions; a
multiplication and an addition are two.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from export.graphs import Graph, build_graphs
from samclip_sdk.bundle.graph_spec import TensorSpec
from samclip_sdk.modeling.build import SamClipModel
from samclip_sdk.modeling.config import ModelConfig

_AXES = {"num_texts": 1, "num_prompts": 1, "num_points": 2}  # SAM's padding point is one of two
_WEIGHT_BYTES = {"fp32": 4, "bf16": 2, "fp16": 2, "int8": 1}
_ATEN = torch.ops.aten
_WEIGHT_PRODUCTS = frozenset({_ATEN.mm, _ATEN.addmm, _ATEN.convolution})


class Cost(NamedTuple):
    """What one run of a graph takes, with one text, or one prompt of one point.

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

    @property
    def flop(self) -> int:
        """All operations."""
        return self.weight_flop + self.attention_flop

    def moved_bytes(self, precision: str) -> int:
        """What must move at least: weights in that precision, inputs and outputs."""
        return self.parameters * _WEIGHT_BYTES[precision] + self.activation_bytes


def count_graphs(config: ModelConfig, *, resolution: int) -> list[Cost]:
    """Counts every graph of a model.

    The resolution, in pixels, is of image_encoder and clip_head; the prompt encoder and the mask
    decoder have the segmentation resolution.
    """
    with torch.device("meta"), torch.no_grad():
        graphs = build_graphs(SamClipModel(config), resolutions=[resolution])
        return [_count_graph(graph) for graph in graphs]


def _count_graph(graph: Graph) -> Cost:
    inputs, outputs = (
        [_empty(spec, _AXES) for spec in each] for each in (graph.inputs, graph.outputs)
    )
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
