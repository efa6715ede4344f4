"""The fixed lengths of graphs for runtimes without dynamic shapes: Core ML, LiteRT, ExecuTorch.

K prompts or texts have several buckets, P points have one. Padding is exact: the model masks out
points with the label -2, and the rows of K do not depend on one another. Sessions pad and trim.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from export.graphs import Graph

BATCH_BUCKETS = (1, 4, 8)
"""Lengths of K, the axis of prompts, or of the labels of `text_to_mask`."""
TEXT_BUCKETS = (1, 8)
"""Lengths of K in the text encoder, whose weights are large: in Core ML each has its own."""
POINTS_BUCKET = 16
"""The length of P: 14 points and a box, or 15 points and SAM's padding token."""


def bucket_axes(graph: Graph) -> list[dict[str, int]]:
    """The lengths of the symbolic axes of each bucket that a graph needs, smallest first."""
    names = {axis for spec in graph.inputs for axis in spec.shape if isinstance(axis, str)}
    if not names:
        return [{}]
    buckets = TEXT_BUCKETS if graph.part == "text_encoder" else BATCH_BUCKETS
    return [
        {name: POINTS_BUCKET if name == "num_points" else batch for name in sorted(names)}
        for batch in buckets
    ]


def bucket_name(axes: Mapping[str, int]) -> str:
    """The name of a bucket in a file of several: "main", or "num_points_16.num_prompts_8".

    `Signatures.kt` of `examples/android/samclip-litert` reads the lengths from it.
    """
    return ".".join(f"{axis}_{length}" for axis, length in sorted(axes.items())) or "main"


def bucket_example(graph: Graph, *, axes: Mapping[str, int]) -> dict[str, Tensor]:
    """Inputs of zeros to trace a bucket's program with; the image is a float tensor."""
    return {
        spec.name: torch.zeros(
            [axes[axis] if isinstance(axis, str) else axis for axis in spec.shape],
            dtype=torch.float32 if spec.dtype == "uint8" else getattr(torch, spec.dtype),
        )
        for spec in graph.inputs
    }
