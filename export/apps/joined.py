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
    """The operations between the three graphs, as separate graphs; all precisions share them."""

    mark_tokens: onnx.ModelProto
    ask_labels: onnx.ModelProto
    draw_labels: onnx.ModelProto


def trace_glue(module: TextToMask, *, spec: GraphSpec) -> Glue:
    """Converts the operations between the graphs.

    Args:
        module: the module of the joined graph.
        spec: the inputs and outputs of the joined graph.
    """
    tensors = {each.name: each for each in (*spec.inputs, *spec.outputs)}
    side, dim = module.ask_labels.side, tensors["text_embeddings"].shape[1]
    return Glue(
        mark_tokens=_trace(module.mark_tokens, (tensors["extent"],), outputs=("token_mask",)),
        ask_labels=_trace(
            module.ask_labels,
            (
                _floats("patch_embeddings", 1, module.ask_labels.cells**2, dim),
                tensors["extent"],
                tensors["text_embeddings"],
            ),
            outputs=(*_PROMPTS, "maps", "presence"),
        ),
        draw_labels=_trace(
            module.draw_labels,
            (
                _floats("low_res_masks", LABELS, 4, side, side),
                _floats("iou_predictions", LABELS, 4),
                _floats("maps", LABELS, side, side),
            ),
            outputs=("mask_logits", "scores"),
        ),
    )


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
    parts = [
        glue.mark_tokens,
        onnx.load(clip_head, load_external_data=False),
        glue.ask_labels,
        onnx.load(prompt_encoder, load_external_data=False),
        onnx.load(mask_decoder, load_external_data=False),
        glue.draw_labels,
    ]
    return onnx.helper.make_model(
        _wire(parts, spec=spec),
        opset_imports=parts[1].opset_import,
        ir_version=parts[1].ir_version,
    )


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
