"""The five graphs of a bundle: their modules, and their input and output tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.export import ExportedProgram

from export.program import export_program
from samclip_sdk.bundle.contract import contract_graphs, take_rectangles, take_short_texts
from samclip_sdk.bundle.graph_spec import GraphSpec, TensorSpec
from samclip_sdk.modeling.build import SamClipModel

Arrays: TypeAlias = "Mapping[str, NDArray[np.generic]]"

MULTIPLES = {
    "height": 32,
    "width": 32,
    "rows": 2,
    "columns": 2,
    "mask_rows": 8,
    "mask_columns": 8,
}
"""What divides the sides of images, of maps of cells, and of masks: the coarsest stride
is 32, a cell has 16 x 16 pixels of an image, and 4 x 4 of a mask."""

_OF_IMAGES = ("image_encoder", "clip_head", "prompt_encoder", "mask_decoder")

_EXAMPLE_AXES = {"num_texts": 3, "num_prompts": 3, "num_points": 2}
"""Lengths of the dynamic axes in the export; above 1, which torch.export takes for a constant."""


@dataclass(frozen=True)
class Graph:
    """One graph of the bundle.

    Attributes:
        name: its key in the manifest, `image_encoder@256` for instance.
        part: the model's attribute that it is made from.
        resolution: in pixels; None if the graph exists only once.
        module: the module to export; position tables are baked for the resolution.
        eager: the model's own part, the reference.
        inputs: in the order of `module.forward`; axes named by a string are dynamic.
        outputs: in the order of the outputs of `module.forward`; dynamic axes as in `inputs`.
        rectangular: whether it also takes the upper left of a square, see `take_rectangles`.
    """

    name: str
    part: str
    resolution: int | None
    module: nn.Module
    eager: nn.Module
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    rectangular: bool = False

    def contract(self) -> GraphSpec:
        """The graph's inputs and outputs, without artifacts."""
        return GraphSpec(inputs=self.inputs, outputs=self.outputs)

    def example(self) -> dict[str, Tensor]:
        """An input of zeros for each tensor, to trace the module with."""
        return {
            spec.name: torch.zeros(
                [_EXAMPLE_AXES[n] if isinstance(n, str) else n for n in spec.shape],
                dtype=getattr(torch, spec.dtype),
            )
            for spec in self.inputs
        }

    def traced_inputs(self) -> tuple[TensorSpec, ...]:
        """The inputs, with a name for every axis that may vary in an ONNX file.

        These are the contract's named axes; the length of texts, which may be shorter than the
        context; and if the model is convolutional the sides of images and of maps of cells.
        """
        if self.part == "text_encoder":
            return take_short_texts(self.contract()).inputs
        if self.rectangular:
            return take_rectangles(self.contract()).inputs
        return self.inputs

    def trace(self) -> ExportedProgram:
        """Traces the module into a program whose named axes may vary."""
        traced = {spec.name: spec.shape for spec in self.traced_inputs()}
        longest = {
            name: length
            for spec in self.inputs
            for name, length in zip(traced[spec.name], spec.shape, strict=True)
            if isinstance(name, str) and isinstance(length, int)
        }
        axes = {
            name: {i: axis for i, axis in enumerate(shape) if isinstance(axis, str)}
            for name, shape in traced.items()
        }
        return export_program(
            self.module,
            example=self.example(),
            dynamic_axes=axes,
            longest=longest,
            multiples=MULTIPLES,
        )

    def reference(self, feed: Arrays) -> dict[str, NDArray[np.generic]]:
        """Runs the model's own part in eager torch."""
        with torch.inference_mode():
            answer = self.eager(*(torch.tensor(feed[spec.name]) for spec in self.inputs))
        results = answer if isinstance(answer, tuple) else (answer,)
        return {
            spec.name: tensor.numpy() for spec, tensor in zip(self.outputs, results, strict=True)
        }


def build_graphs(model: SamClipModel, *, resolutions: Sequence[int]) -> list[Graph]:
    """Lists the graphs of `model`, with image_encoder and clip_head at each of `resolutions`.

    It freezes the model's parameters.

    Raises:
        ValueError: the model does not run at one of the resolutions.
    """
    contract = contract_graphs(model.config, resolutions=resolutions)
    # An image of one step has no rectangle in it.
    step, side = model.config.image_encoder.resolution_step, model.config.segmentation_resolution
    return [
        Graph(
            name=name,
            part=part,
            resolution=int(at) if at else None,
            module=_module(model, part=part, resolution=int(at) if at else None),
            eager=getattr(model, part),
            rectangular=(
                model.config.takes_rectangles and part in _OF_IMAGES and int(at or side) > step
            ),
            inputs=spec.inputs,
            outputs=spec.outputs,
        )
        for name, spec in contract.items()
        for part, _, at in [name.partition("@")]
    ]


def _module(model: SamClipModel, *, part: str, resolution: int | None) -> nn.Module:
    """The part to export, with tables baked for the resolution."""
    module: nn.Module = getattr(model, part)
    if resolution is not None and part == "image_encoder":
        module = model.image_encoder.at_resolution(resolution)
    elif resolution is not None:
        patch_size = model.config.image_encoder.patch_size
        module = model.clip_head.at_resolution(resolution, patch_size=patch_size)
    elif part == "mask_decoder":
        module = model.mask_decoder.at_grid(model.config.grid)
    elif part == "prompt_encoder":
        module = model.prompt_encoder.at_cells()
    # Otherwise torch.export traces for gradients too, which takes half as long again.
    return module.requires_grad_(False)
