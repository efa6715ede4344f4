"""Exports SAM and CLIP plainly to ONNX, in a process of its own.

The image encoder is exported as samexporter 0.5 does it (preprocessing inside, torch's TorchScript
exporter, opset 18), and the prompt encoder with the mask decoder as segment-anything's own
`SamOnnxModel`, as samexporter does too. samexporter itself is not used: it pins another torch.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from segment_anything.utils.onnx import SamOnnxModel
from torch import Tensor, nn

from benchmarks.speed.peers.sam_openclip import build_sam, load_clip
from samclip_sdk.system.atomic_folder import atomic_folder

OPSET = 18

GraphParts = tuple[str, nn.Module, dict[str, Tensor], list[str], dict[str, dict[int, str]]]


def write_graphs(graphs: Iterable[GraphParts], *, folder: Path) -> None:
    """Writes graphs into a folder that appears whole or not at all.

    Each has its name, its module, its inputs and outputs, and the axes that may vary.
    """
    # Keeps attention from a fused operator that ONNX does not have.
    torch.backends.mha.set_fastpath_enabled(False)
    with atomic_folder(folder) as partial, warnings.catch_warnings(), torch.no_grad():
        # Tracing bakes sizes, and says so at each; the exporter says that it is the old one.
        warnings.simplefilter("ignore")
        for name, module, inputs, outputs, dynamic in graphs:
            torch.onnx.export(
                module.eval(),
                tuple(inputs.values()),
                partial / f"{name}.onnx",
                input_names=list(inputs),
                output_names=outputs,
                dynamic_axes=dynamic,
                opset_version=OPSET,
                dynamo=False,
            )


def sam_graphs(model: Any, decoder: nn.Module) -> Iterator[GraphParts]:
    """The two graphs of a SAM, whose package wraps its decoder for ONNX."""
    side, prompts = model.image_encoder.img_size, model.prompt_encoder
    rows, columns = prompts.image_embedding_size
    image = {"input_image": torch.zeros(side, side, 3)}
    axes = {"input_image": {0: "image_height", 1: "image_width"}}
    yield "image_encoder", PreprocessingEncoder(model), image, ["image_embeddings"], axes
    prompt = {
        "image_embeddings": torch.zeros(1, prompts.embed_dim, rows, columns),
        "point_coords": torch.zeros(1, 5, 2),
        "point_labels": torch.ones(1, 5),
        "mask_input": torch.zeros(1, 1, 4 * rows, 4 * columns),
        "has_mask_input": torch.ones(1),
        # The graph keeps this image's proportions: 3 to 2, as the benchmark's.
        "orig_im_size": torch.tensor([1500.0, 2250.0]),
    }
    axes = {"point_coords": {1: "num_points"}, "point_labels": {1: "num_points"}}
    answers = ["masks", "iou_predictions", "low_res_masks"]
    yield "mask_decoder", decoder, prompt, answers, axes


def all_graphs(clip: str) -> Iterator[GraphParts]:
    """SAM's, then CLIP's image encoder."""
    model = build_sam()
    yield from sam_graphs(model, SamOnnxModel(model, return_single_mask=False))
    del model
    visual = load_clip(clip)[0].visual
    pixels = {"pixels": torch.zeros(2, 3, *np.broadcast_to(visual.image_size, 2).tolist())}
    axes = {"pixels": {0: "images"}, "embeddings": {0: "images"}}
    yield "clip_image_encoder", visual, pixels, ["embeddings"], axes


class PreprocessingEncoder(nn.Module):
    """SAM's image encoder of an image as long as SAM sees it; the graph normalises and pads."""

    def __init__(self, sam: Any) -> None:
        super().__init__()
        self.sam = sam

    def forward(self, input_image: Tensor) -> Tensor:
        """Maps RGB 0..255, float [H,W,3], to image embeddings [1,256,g,g]."""
        return self.sam.image_encoder(self.sam.preprocess(input_image.permute(2, 0, 1))[None])
