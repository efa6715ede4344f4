"""Joins the ONNX file of `text_to_mask@S` from the files of the graphs that it contains.

So it computes the same as they do, in each precision, and reads their weights from the same files:
it adds about 100 kB to a bundle. The operations between the graphs compute in fp32, and are traced
once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx
import onnx.parser
import onnx_ir as ir
import torch
from onnx import compose
from torch import nn

from export.apps.text_to_mask import TextToMask
from export.program import export_program
from export.to_onnx import to_onnx
from samclip_sdk.bundle.graph_spec import GraphSpec, TensorSpec

LABELS = "num_texts"
_EXAMPLE = 3  # labels in the export; above 1, which torch.export takes for a constant
_ELEMENTS = {"float32": "FLOAT", "int32": "INT32", "uint8": "UINT8"}
_PROMPTS = ("point_coords", "point_labels", "mask_input", "has_mask_input")


@dataclass(frozen=True)
class Glue:
    """The operations between the three graphs, as separate graphs; all precisions share them.

    Attributes:
        mark_tokens: before the CLIP head.
        ask_labels: between the CLIP head and the prompt encoder.
        draw_labels: after the mask decoder.
        rectangles: if the three graphs take the upper left of a square: what crops the inputs of
            the CLIP head and of the mask decoder, and restores their outputs, in the order of the
            joined graph.
    """

    mark_tokens: onnx.ModelProto
    ask_labels: onnx.ModelProto
    draw_labels: onnx.ModelProto
    rectangles: tuple[onnx.ModelProto, ...]


_CROP = """
<ir_version: 8, opset_import: ["" : 18]>
crop (float[n,c,g,g] square_{part}, float[1,d,h,w] {like}) => (float[n,c,h,w] {part})
<int64[2] first = {{0, 0}}, int64[2] axes = {{-2, -1}}>
{{
  size = Shape <start = 2> ({like})
  {part} = Slice (square_{part}, first, size, axes)
}}
"""
"""The upper left of a map, as much as another map has."""

_RESTORE_PATCHES = """
<ir_version: 8, opset_import: ["" : 18]>
restore (float[1,n,e] patch_embeddings, float[1,c,h,w] image_tokens)
    => (float[1,m,e] square_patch_embeddings)
<int64[2] side = {{{cells}, {cells}}}, int64[1] one = {{1}}, int64[1] rest = {{-1}},
 int64[5] before = {{0, 0, 0, 0, 0}}, int64[1] none = {{0}}>
{{
  size = Shape <start = 2> (image_tokens)
  width = Shape <start = 2> (patch_embeddings)
  shape = Concat <axis = 0> (one, size, width)
  cells = Reshape (patch_embeddings, shape)
  missing = Sub (side, size)
  pads = Concat <axis = 0> (before, missing, none)
  padded = Pad (cells, pads)
  row = Concat <axis = 0> (one, rest, width)
  square_patch_embeddings = Reshape (padded, row)
}}
"""
"""Zeros in the place of the patches that were left out."""

_RESTORE_MASKS = """
<ir_version: 8, opset_import: ["" : 18]>
restore (float[k,t,h,w] low_res_masks) => (float[k,t,s,s] square_low_res_masks)
<int64[2] side = {{{side}, {side}}}, int64[6] before = {{0, 0, 0, 0, 0, 0}}>
{{
  size = Shape <start = 2> (low_res_masks)
  missing = Sub (side, size)
  pads = Concat <axis = 0> (before, missing)
  square_low_res_masks = Pad <mode = "edge"> (low_res_masks, pads)
}}
"""
"""The last row and column again, in the place of what was left out."""


def trace_glue(module: TextToMask, *, spec: GraphSpec, rectangular: bool) -> Glue:
    """Converts the operations between the graphs.

    Args:
        module: the module of the joined graph.
        spec: the inputs and outputs of the joined graph.
        rectangular: whether the graphs take the upper left of a square.
    """
    square = "square_" if rectangular else ""
    tensors = {each.name: each for each in (*spec.inputs, *spec.outputs)}
    side, dim = module.ask_labels.side, tensors["text_embeddings"].shape[1]
    return Glue(
        mark_tokens=_trace(
            module.mark_tokens, (tensors["extent"],), outputs=(f"{square}token_mask",)
        ),
        ask_labels=_trace(
            module.ask_labels,
            (
                _floats(f"{square}patch_embeddings", 1, module.ask_labels.cells**2, dim),
                tensors["extent"],
                tensors["text_embeddings"],
            ),
            outputs=(*_PROMPTS, "presence"),
        ),
        draw_labels=_trace(
            module.draw_labels,
            (
                _floats(f"{square}low_res_masks", LABELS, 4, side, side),
                _floats("iou_predictions", LABELS, 4),
            ),
            outputs=("mask_logits", "scores"),
        ),
        rectangles=_rectangles(module) if rectangular else (),
    )


def _rectangles(module: TextToMask) -> tuple[onnx.ModelProto, ...]:
    cells, side = module.ask_labels.cells, module.ask_labels.side
    texts = (
        _CROP.format(part="token_mask", like="image_tokens"),
        _RESTORE_PATCHES.format(cells=cells),
        _CROP.format(part="dense_embeddings", like="image_embeddings"),
        _RESTORE_MASKS.format(side=side),
    )
    return tuple(onnx.parser.parse_model(text) for text in texts)


def join_graphs(
    glue: Glue, *, spec: GraphSpec, clip_head: Path, prompt_encoder: Path, mask_decoder: Path
) -> onnx.ModelProto:
    """Joins the files of three graphs with the operations between them.

    Args:
        glue: the operations between them; it is not changed.
        spec: the inputs and outputs of the joined graph.
        clip_head: the CLIP head's ONNX file at the resolution of segmentation.
        prompt_encoder: the prompt encoder's ONNX file.
        mask_decoder: the mask decoder's ONNX file.

    Returns:
        The joined graph; it refers to the same weight files as the three.
    """
    head, prompts, decoder = (
        onnx.load(path, load_external_data=False)
        for path in (clip_head, prompt_encoder, mask_decoder)
    )
    parts = [glue.mark_tokens, head, glue.ask_labels, prompts, decoder, glue.draw_labels]
    if glue.rectangles:
        _rename(prompts.graph, "dense_embeddings", to="square_dense_embeddings")
        crop_tokens, restore_patches, crop_dense, restore_masks = glue.rectangles
        parts[1:2] = [crop_tokens, head, restore_patches]
        parts[-2:-1] = [crop_dense, decoder, restore_masks]
    return onnx.helper.make_model(
        _wire(parts, spec=spec), opset_imports=head.opset_import, ir_version=head.ir_version
    )


def _rename(graph: onnx.GraphProto, name: str, *, to: str) -> None:
    """Renames an output of a graph."""
    for node in graph.node:
        node.input[:] = [to if each == name else each for each in node.input]
        node.output[:] = [to if each == name else each for each in node.output]
    for value in graph.output:
        value.name = to if value.name == name else value.name


def _wire(parts: Sequence[onnx.ModelProto], *, spec: GraphSpec) -> onnx.GraphProto:
    """Connects all parts in order: outputs and inputs of the same name are the same value."""
    whole = onnx.GraphProto(name="text_to_mask")
    for number, part in enumerate(parts):
        apart = compose.add_prefix(
            part, prefix=f"{number}/", rename_inputs=False, rename_outputs=False
        )
        whole.node.extend(apart.graph.node)
        whole.initializer.extend(apart.graph.initializer)
    whole.input.extend(_stated(each) for each in spec.inputs)
    whole.output.extend(_stated(each) for each in spec.outputs)
    return whole


def _stated(tensor: TensorSpec) -> onnx.ValueInfoProto:
    element = getattr(onnx.TensorProto, _ELEMENTS[tensor.dtype])
    return onnx.helper.make_tensor_value_info(tensor.name, element, list(tensor.shape))


def _trace(
    module: nn.Module, inputs: Sequence[TensorSpec], *, outputs: Sequence[str]
) -> onnx.ModelProto:
    """Traces the operations between two graphs as a graph in fp32, for any number of labels."""
    example = {
        each.name: torch.zeros([_EXAMPLE if n == LABELS else int(n) for n in each.shape])
        for each in inputs
    }
    axes = {each.name: {0: LABELS} for each in inputs if LABELS in each.shape}
    program = export_program(module, example=example, dynamic_axes=axes)
    named = [TensorSpec(name=name, dtype="float32", shape=()) for name in outputs]
    return ir.to_proto(to_onnx(program, inputs=inputs, outputs=named))


def _floats(name: str, *shape: int | str) -> TensorSpec:
    return TensorSpec(name=name, dtype="float32", shape=shape)
