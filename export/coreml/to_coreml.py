"""Converts a torch program to a Core ML package (an ML program) with the contract's names.

The deployment target is iOS 17 and macOS 14. iOS 18 would add three features. Fused attention is of
no use here, because the relative positions are added between its two products. Weights in blocks
matter at 4 bits only. Packages could share their weights among several shapes.

Shapes are fixed, because dynamic shapes do not run on the Neural Engine: a graph has a package for
each of its `buckets`.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.export import ExportedProgram

from export.coreml.program import prepare_program
from export.graphs import Graph
from export.precision.mixed_precision import operation_of
from export.quiet import quiet
from samclip_sdk.errors import VerificationError
from samclip_sdk.runtimes.coreml.package import import_coremltools

Weights = Literal["as_is", "int8", "palette6"]

TARGET = "iOS17"
MIN_COMPRESSED = 10_000
"""Smaller weights stay uncompressed: they are a thousandth of the file. From this size on,
coremltools uses the exact one-dimensional k-means, which is deterministic and needs no
scikit-learn."""

PARTS = {
    "image_encoder": "the backbone: an image to tokens and embeddings, once per image",
    "clip_head": "CLIP embeddings of the whole image and of each patch",
    "text_encoder": "embeddings of texts, in the space of the CLIP head's",
    "prompt_encoder": "points, boxes and masks to embeddings",
    "mask_decoder": "prompt embeddings to masks",
    "text_to_mask": "what image_encoder gave and text embeddings to the masks of the texts",
}

TENSORS = {
    "image": "RGB, upright, 0 to 255: long side to the model's size, antialiased bilinear, placed "
    "top left, the rest filled with (124, 116, 104). Normalisation is inside.",
    "image_tokens": "The backbone's tokens [1,C,g,g], g = size / patch size, for the CLIP head.",
    "image_embeddings": "The image's embeddings [1,D,g,g], for the mask decoder.",
    "proposals": "[1,30,g,g]: six boxes of a cell, each an objectness (a logit) and four distances "
    "(logarithms); samclip_sdk.image.proposals reads them.",
    "token_mask": "[1,g,g]: 1 where a patch holds any pixel of the image, else 0.",
    "patch_embeddings": "[1,h*h,E], rows of the letterboxed square first, each of unit length.",
    "image_embedding": "[1,E], of unit length.",
    "input_ids": "[K,L] ids of tokenizer.json, L its context length: start, text, end, zeros.",
    "text_embeddings": "[K,E], each of unit length.",
    "point_coords": "[K,P,2]: (x, y) in pixels of the letterboxed square.",
    "point_labels": "[K,P]: 1 foreground, 0 background, 2 and 3 a box's top left and bottom right "
    "corner, -1 SAM's padding token, -2 filler that takes no part.",
    "mask_input": "[K,1,4g,4g]: logits of a mask in the letterboxed square, 4g per side.",
    "has_mask_input": "[K]: 1 where mask_input counts, else 0.",
    "sparse_embeddings": "[K,P,D]: the embeddings of points and box corners.",
    "sparse_mask": "[K,P]: 0 for filler, else 1.",
    "dense_embeddings": "[K,D,g,g]: the embeddings of the mask prompts.",
    "low_res_masks": "[K,4,4g,4g]: logits in the letterboxed square; above 0 is mask. Mask 0 where "
    "one is asked, 1 to 3 where three are.",
    "extent": "[2]: the rows and columns of the letterboxed square that the image covers.",
    "mask_logits": "[K,S,S]: logits in the letterboxed square; above 0 is mask. They mean nothing "
    "where presence is below the bundle's presence_threshold.",
    "scores": "[K]: the predicted IoU of each mask, about 0 to 1.",
    "presence": "[K]: the probability that each text is in the image, 0 to 1.",
    "iou_predictions": "[K,4]: the predicted IoU of each mask, about 0 to 1.",
}
"""The descriptions of inputs and outputs in Xcode; frames and units as in the contract."""


_MULTIPLIES = frozenset({"linear", "matmul", "conv", "conv_transpose", "gather"})
"""Operations whose constants are compressed. Positions are added, so they keep their precision;
`gather` reads the table of text tokens."""
_TYPES = {"fp16": torch.float16, "fp32": torch.float32}


@dataclass(frozen=True)
class PackageMetadata:
    """The metadata of a package.

    Attributes:
        model: the bundle's name.
        version: the revision of the weights.
        author: the author of the weights.
        licence: the licence of the weights, as SPDX.
    """

    model: str
    version: str
    author: str
    licence: str


def to_coreml(
    program: ExportedProgram,
    packages: Mapping[Path, Weights],
    *,
    graph: Graph,
    axes: Mapping[str, int],
    metadata: PackageMetadata,
) -> None:
    """Converts a program once, and writes it as one or several packages.

    Args:
        program: traced with `bucket_example`; its types are kept, and it is changed.
        packages: a new folder with the suffix .mlpackage -> how its fp16 weights are stored:
            unchanged, with 8 bits (symmetric, a scale for each output channel), or with 6 bits (a
            palette of 64 values for each tensor, by k-means). Small weights, positions and the
            program's fp32 weights stay unchanged.
        graph: the graph that the program was made from.
        axes: the lengths of its symbolic axes in these packages.
        metadata: the metadata of the packages.

    Raises:
        VerificationError: coremltools changed a type.
        NotImplementedError: an operation cannot be converted.
    """
    prepare_program(program)
    with quiet(), tempfile.TemporaryDirectory() as scratch:
        model = _convert(program, graph=graph, package=Path(scratch) / "plain.mlpackage")
        _check_types(model, program=program, graph=graph)
        for path, weights in packages.items():
            packed = _compress(model, weights=weights)
            _describe(packed, graph=graph, axes=axes, metadata=metadata)
            packed.save(str(path))
            if packed is not model:
                # Otherwise coremltools keeps its own copy until the process ends.
                shutil.rmtree(packed.package_path)


def _convert(program: ExportedProgram, *, graph: Graph, package: Path) -> Any:
    ct = import_coremltools()
    pipeline = ct.PassPipeline.DEFAULT
    if graph.part == "prompt_encoder":
        # Otherwise the one vector of "no mask" is stored for every position and every prompt.
        pipeline.set_options("common::const_elimination", {"skip_const_by_size": "1000"})
    images = [
        ct.ImageType(name=spec.name, shape=spec.shape, color_layout=ct.colorlayout.RGB)
        for spec in graph.inputs
        if spec.dtype == "uint8"
    ]
    return ct.convert(
        program,
        inputs=images or None,
        outputs=[ct.TensorType(name=spec.name) for spec in graph.outputs],
        convert_to="mlprogram",
        minimum_deployment_target=getattr(ct.target, TARGET),
        compute_precision=ct.precision.FLOAT32,  # none added: the program's types are kept
        pass_pipeline=pipeline,
        skip_model_load=True,
        package_dir=str(package),
    )


def _check_types(model: Any, *, program: ExportedProgram, graph: Graph) -> None:
    """Checks that each operation that kept its name also kept the program's precision.

    Operations that only move numbers have the precision of their input. They are not checked,
    because coremltools gives their names to its own transpositions.
    """
    operations = model._mil_program.functions["main"].operations
    converted = {var.name: var.dtype.__name__ for each in operations for var in each.outputs}
    for node in program.graph.nodes:
        value = node.meta.get("val")
        if operation_of(node) is not None and isinstance(value, Tensor):
            found = converted.get(node.name)
            if found in _TYPES and _TYPES[found] != value.dtype:
                raise VerificationError(
                    f"{graph.name}: coremltools computes {node.name} ({node.target}) in {found}, "
                    f"the program in {value.dtype}"
                )


def _compress(model: Any, *, weights: Weights) -> Any:
    """Compresses the large fp16 weights; returns `model` itself if there are none."""
    packed = _packed_weights(model)
    if weights == "as_is" or not packed:
        return model
    coreml = import_coremltools().optimize.coreml
    if weights == "int8":
        int8 = coreml.OpLinearQuantizerConfig(
            mode="linear_symmetric", weight_threshold=MIN_COMPRESSED
        )
        return coreml.linear_quantize_weights(
            model, coreml.OptimizationConfig(op_name_configs=dict.fromkeys(packed, int8))
        )
    palette = coreml.OpPalettizerConfig(mode="kmeans", nbits=6, weight_threshold=MIN_COMPRESSED)
    return coreml.palettize_weights(
        model, coreml.OptimizationConfig(op_name_configs=dict.fromkeys(packed, palette))
    )


def _packed_weights(model: Any) -> list[str]:
    """The names of the constants to compress: large fp16 factors of `_MULTIPLIES`."""
    operations = model._mil_program.functions["main"].operations
    values = {each.name: each.outputs[0] for each in operations if each.op_type == "const"}
    return [
        name
        for name, var in values.items()
        if getattr(var.val, "dtype", None) == np.float16
        and var.val.size >= MIN_COMPRESSED
        and all(
            child.op_type in _MULTIPLIES and not _is_added_to_after_a_transpose(child)
            for child in var.child_ops
        )
    ]


def _is_added_to_after_a_transpose(operation: Any) -> bool:
    """Whether coremltools would try to fuse the sum, which fails with compressed weights.

    This is the patch embedding.
    """
    if not operation.op_type.startswith("conv"):
        return False
    after = [child for var in operation.outputs for child in var.child_ops]
    sums = [child for each in after for var in each.outputs for child in var.child_ops]
    return [each.op_type for each in after] == ["transpose"] and [
        each.op_type for each in sums
    ] in (["add"], ["sub"])


def _describe(
    model: Any, *, graph: Graph, axes: Mapping[str, int], metadata: PackageMetadata
) -> None:
    lengths = ", ".join(f"{name} = {length}" for name, length in sorted(axes.items()))
    model.short_description = f"{metadata.model}, {graph.name}: {PARTS[graph.part]}." + (
        f" Fixed lengths: {lengths}; shorter input is padded." if lengths else ""
    )
    model.author, model.license, model.version = (
        metadata.author,
        metadata.licence,
        metadata.version,
    )
    for specs, descriptions in (
        (graph.inputs, model.input_description),
        (graph.outputs, model.output_description),
    ):
        for spec in specs:
            descriptions[spec.name] = TENSORS[spec.name]
