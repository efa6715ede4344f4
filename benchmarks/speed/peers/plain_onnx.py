"""Exports SAM and CLIP plainly to ONNX; `sam_onnx` runs this as a process of its own.

The image encoder is exported as samexporter 0.5 does it (preprocessing inside, torch's TorchScript
exporter, opset 18), and the prompt encoder with the mask decoder as segment-anything's own
`SamOnnxModel`, as samexporter does too. samexporter itself is not used: it pins another torch.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from segment_anything.modeling import Sam
from segment_anything.utils.onnx import SamOnnxModel
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.speed.peers.sam_onnx import OPSET
from benchmarks.speed.peers.sam_openclip import build_sam, load_clip
from samclip_sdk.atomic_folder import atomic_folder


def export(sam: str, clip: str, *, folder: Path) -> None:
    """Writes the three graphs into a folder that appears whole or not at all.

    Raises:
        StorageError: the folder cannot be written.
    """
    model = build_sam(sam)
    with atomic_folder(folder) as partial:
        _export_image_encoder(model, partial / "image_encoder.onnx")
        _export_mask_decoder(model, partial / "mask_decoder.onnx")
        del model
        _export_clip(load_clip(clip)[0], partial / "clip_image_encoder.onnx")


class PreprocessingEncoder(nn.Module):
    """SAM's image encoder of a picture as long as SAM sees it; the graph normalises and pads."""

    def __init__(self, sam: Sam) -> None:
        super().__init__()
        self.image_encoder = sam.image_encoder
        self.mean, self.std = sam.pixel_mean.flatten(), sam.pixel_std.flatten()

    def forward(self, input_image: Tensor) -> Tensor:
        """Maps RGB 0..255, float [H,W,3], to image embeddings [1,256,g,g]."""
        x = torch.permute((input_image - self.mean) / self.std, (2, 0, 1))
        height, width = x.shape[-2:]
        size = self.image_encoder.img_size
        x = F.pad(x, (0, size - width, 0, size - height))
        embeddings: Tensor = self.image_encoder(x.unsqueeze(0))
        return embeddings


class ClipEmbedder(nn.Module):
    """The image side of an open_clip model."""

    def __init__(self, clip: nn.Module) -> None:
        super().__init__()
        self.clip = clip

    def forward(self, pixels: Tensor) -> Tensor:
        """Maps normalised pictures [K,3,S,S] to unit embeddings [K,E]."""
        return self.clip.encode_image(pixels, normalize=True)


def _export_image_encoder(sam: Sam, path: Path) -> None:
    size = sam.image_encoder.img_size
    _export_graph(
        PreprocessingEncoder(sam),
        {"input_image": torch.zeros(size, size, 3)},
        path,
        outputs=["image_embeddings"],
        dynamic={"input_image": {0: "image_height", 1: "image_width"}},
    )


def _export_mask_decoder(sam: Sam, path: Path) -> None:
    rows, columns = sam.prompt_encoder.image_embedding_size
    _export_graph(
        SamOnnxModel(sam, return_single_mask=False),
        {
            "image_embeddings": torch.zeros(1, sam.prompt_encoder.embed_dim, rows, columns),
            "point_coords": torch.zeros(1, 5, 2),
            "point_labels": torch.ones(1, 5),
            "mask_input": torch.zeros(1, 1, 4 * rows, 4 * columns),
            "has_mask_input": torch.ones(1),
            # The graph keeps this picture's proportions: 3 to 2, as the benchmark's.
            "orig_im_size": torch.tensor([1500.0, 2250.0]),
        },
        path,
        outputs=["masks", "iou_predictions", "low_res_masks"],
        dynamic={"point_coords": {1: "num_points"}, "point_labels": {1: "num_points"}},
    )


def _export_clip(clip: nn.Module, path: Path) -> None:
    size = clip.visual.image_size
    height, width = size if isinstance(size, tuple) else (size, size)
    _export_graph(
        ClipEmbedder(clip),
        {"pixels": torch.zeros(2, 3, height, width)},
        path,
        outputs=["embeddings"],
        dynamic={"pixels": {0: "pictures"}, "embeddings": {0: "pictures"}},
    )


def _export_graph(
    module: nn.Module,
    inputs: Mapping[str, Tensor],
    path: Path,
    *,
    outputs: list[str],
    dynamic: Mapping[str, dict[int, str]],
) -> None:
    with warnings.catch_warnings(), torch.inference_mode(), _plain_attention():
        # Tracing bakes sizes, and says so at each; the exporter says that it is the old one.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module.eval(),
            tuple(inputs.values()),
            path,
            input_names=list(inputs),
            output_names=outputs,
            dynamic_axes=dict(dynamic),
            opset_version=OPSET,
            dynamo=False,
        )


@contextmanager
def _plain_attention() -> Iterator[None]:
    """Keeps CLIP's attention from a fused operator that ONNX does not have."""
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)


if __name__ == "__main__":
    export(sys.argv[1], sys.argv[2], folder=Path(sys.argv[3]))
