"""CLIPSeg: text-to-mask by a small decoder on CLIP's image encoder, without point prompts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.speed.peers import forced
from benchmarks.speed.peers.exports import ExportedPeer, exported, open_net
from benchmarks.speed.subject import IMAGE_PX, Opened, noise_image

if TYPE_CHECKING:
    from benchmarks.speed.peers.plain_onnx import GraphParts

_PX = 352
_RD64 = {"reduce_dim": 64, "vision_config": {"patch_size": 16}}  # beside CLIPSegConfig's defaults
_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
_STD = np.array([0.229, 0.224, 0.225], np.float32)


@dataclass(frozen=True)
class ClipSeg(ExportedPeer):
    """CLIPSeg rd64 in two graphs: its image encoder, and its decoder of any number of labels."""

    stem = "clipseg-rd64"
    packages = ("transformers", "torch")

    def open(self) -> Opened:
        """Opens both graphs."""
        folder = exported(export, packages=self.packages)
        encoder, decoder = (
            open_net(folder / f"{name}.onnx", runtime=self.runtime)
            for name in ("image_encoder", "decoder")
        )
        image, width = noise_image(), encoder.output_axis
        labels, classes = (
            forced.unit_embeddings(count, width=width) for count in (forced.LABELS, forced.CLASSES)
        )
        encoded: list[NDArray[np.float32]] = []

        def encode() -> None:
            encoded[:] = encoder.run({"pixels": _pixels(image)})

        def classify() -> NDArray[np.float32]:
            embedding = encoded[0][0]
            return forced.rank(embedding / np.linalg.norm(embedding), labels)

        def text_to_mask() -> NDArray[np.bool_]:
            layers = {
                f"layer_{number}": np.repeat(layer, forced.CLASSES, axis=0)
                for number, layer in enumerate(encoded[1:])
            }
            (logits,) = decoder.run(layers | {"texts": classes})
            return np.stack([_sized(each) > 0 for each in logits])

        return self.opened(
            "CLIPSeg rd64",
            notes=f"sees {_PX} px; text3 runs the decoder for three labels on one encoding, where "
            "the package's own forward would encode the image for each label; classify is that "
            "of the CLIP inside; no points",
            files=folder,
            workloads={
                "encode": encode,
                "classify": classify,
                "text3": text_to_mask,
                "image_to_masks": lambda: (encode(), text_to_mask())[1],
            },
        )


def _pixels(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The package's preprocessing: squeezed into a square and normalised; float [1,3,S,S]."""
    square = Image.fromarray(image).resize((_PX, _PX), Image.BILINEAR)
    return ((np.asarray(square, np.float32) / 255 - _MEAN) / _STD).transpose(2, 0, 1)[None]


def _sized(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(Image.fromarray(logits).resize(IMAGE_PX, Image.BILINEAR))


def export(folder: Path) -> None:
    """Writes both graphs."""
    from benchmarks.speed.peers.plain_onnx import write_graphs

    write_graphs(_graphs(), folder=folder)


def _graphs() -> Iterator[GraphParts]:
    import torch
    from torch import Tensor, nn
    from transformers import CLIPSegConfig, CLIPSegForImageSegmentation

    torch.manual_seed(forced.SEED)
    config = CLIPSegConfig(**_RD64)
    config._attn_implementation = "eager"
    model = CLIPSegForImageSegmentation(config).eval().requires_grad_(False)

    class Encoder(nn.Module):
        def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
            found: Any = model.clip.get_image_features(
                pixels, interpolate_pos_encoding=True, output_hidden_states=True
            )
            layers = (found.hidden_states[1 + layer] for layer in model.config.extract_layers)
            return found.pooler_output, *layers

    class Decoder(nn.Module):
        def forward(self, *inputs: Tensor) -> Tensor:
            *layers, texts = inputs
            logits: Tensor = model.decoder(list(layers), texts).logits
            return logits

    pixels = torch.zeros(1, 3, _PX, _PX)
    _, *layers = Encoder()(pixels)
    names = [f"layer_{number}" for number in range(len(layers))]
    outputs = ["embedding", *names]
    yield "image_encoder", Encoder(), {"pixels": pixels}, outputs, {}
    inputs = {name: layer.repeat(2, 1, 1) for name, layer in zip(names, layers, strict=True)}
    inputs["texts"] = torch.zeros(2, model.config.projection_dim)
    axes = {name: {0: "labels"} for name in (*inputs, "logits")}
    yield "decoder", Decoder(), inputs, ["logits"], axes
