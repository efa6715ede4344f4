"""Converts a graph to a LiteRT file, with a signature for each bucket and the contract's names.

All signatures of a file share its weights.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from export.buckets import bucket_axes, bucket_example, bucket_name
from export.converter import import_litert_converter
from export.graphs import Graph
from export.quiet import quiet
from samclip_sdk.system.native_output import quiet_stderr


def to_litert(graph: Graph) -> bytes:
    """Converts a graph in fp32.

    Returns:
        The content of a .tflite file.
    """
    converter = import_litert_converter().Converter()
    module = _ByName(graph).eval()
    for axes in bucket_axes(graph):
        example = bucket_example(graph, axes=axes)
        typed = {
            spec.name: example[spec.name].to(getattr(torch, spec.dtype)) for spec in graph.inputs
        }
        converter.add_signature(bucket_name(axes), module, sample_kwargs=typed)
    with quiet(), quiet_stderr():  # native code tells how many operations it counted
        return bytes(converter.convert().model_content())


class _ByName(nn.Module):
    """A graph's module, with its inputs and outputs by name."""

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self.part = graph.module
        self._inputs = [spec.name for spec in graph.inputs]
        self._outputs = [spec.name for spec in graph.outputs]

    def forward(self, **feed: Tensor) -> dict[str, Tensor]:
        answer = self.part(*(feed[name] for name in self._inputs))
        results = answer if isinstance(answer, tuple) else (answer,)
        return dict(zip(self._outputs, results, strict=True))
