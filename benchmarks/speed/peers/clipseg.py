"""CLIPSeg: text-to-mask by a small decoder on CLIP's image encoder. No point prompts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from benchmarks.speed.peers import forced
from benchmarks.speed.subject import PICTURE_PX, Opened, noise_picture

RD64: Mapping[str, Any] = {"reduce_dim": 64, "vision_config": {"patch_size": 16}}
"""What differs from CLIPSegConfig's defaults in the published clipseg-rd64."""


@dataclass
class ClipSeg:
    """CLIPSeg rd64 on torch.

    Attributes:
        size_px: side of the square that it sees; published as 352.
        threads: of torch; 0 leaves its default.
        config: what differs from CLIPSegConfig's defaults.
    """

    key: ClassVar[str] = "clipseg-rd64"

    size_px: int = 352
    threads: int = 0
    config: Mapping[str, Any] = field(default_factory=lambda: RD64)

    def open(self) -> Opened:
        """Builds the model and its image processor."""
        import torch
        from transformers import CLIPSegConfig, CLIPSegForImageSegmentation, ViTImageProcessor

        torch.set_num_threads(self.threads or torch.get_num_threads())
        torch.manual_seed(forced.SEED)
        self._model = CLIPSegForImageSegmentation(CLIPSegConfig(**self.config)).eval()
        self._model.requires_grad_(False)
        self._processor = ViTImageProcessor(
            size={"height": self.size_px, "width": self.size_px},
            image_mean=[0.485, 0.456, 0.406],
            image_std=[0.229, 0.224, 0.225],
        )
        width, self._encoded = self._model.config.projection_dim, None
        self._labels = forced.unit_embeddings(forced.LABELS, width=width)
        self._classes = forced.unit_embeddings(forced.CLASSES, width=width)
        return Opened(
            name="CLIPSeg rd64, torch",
            packages=("transformers", "torch"),
            notes=f"{forced.RANDOM_WEIGHTS}; sees {self.size_px} px; text3 runs the decoder for "
            "three labels on one encoding, where the package's own forward would encode the "
            "picture for each label; classify is that of the CLIP inside; no points",
            artifact_bytes=forced.stored_bytes(self._model),
            workloads={
                "encode": self._encode,
                "classify": self._classify,
                "text3": self._text_to_mask,
                "picture_to_masks": self._picture_to_masks,
            },
        )

    def _encode(self) -> None:
        """Preprocesses the picture and runs CLIP's image encoder."""
        import torch

        pixels = self._processor(images=noise_picture(), return_tensors="pt")
        with torch.inference_mode():
            self._encoded = self._model.clip.get_image_features(
                **pixels, interpolate_pos_encoding=True, output_hidden_states=True
            )

    def _classify(self) -> NDArray[np.float32]:
        """Probabilities of 1,000 labels, of the encoded picture."""
        embedding = self._encoding().pooler_output[0].numpy()
        return forced.rank(embedding / np.linalg.norm(embedding), self._labels)

    def _text_to_mask(self) -> NDArray[np.bool_]:
        """Masks [3,H,W] of three labels, of the encoded picture."""
        import torch

        hidden = self._encoding().hidden_states
        layers = [hidden[1 + layer] for layer in self._model.config.extract_layers]
        with torch.inference_mode():
            shared = [layer.expand(forced.CLASSES, -1, -1) for layer in layers]
            logits = self._model.decoder(shared, torch.from_numpy(self._classes)).logits
            size = PICTURE_PX[::-1]
            sized = torch.nn.functional.interpolate(logits[:, None], size, mode="bilinear")
        return (sized[:, 0] > 0).numpy()

    def _picture_to_masks(self) -> NDArray[np.bool_]:
        """Masks [3,H,W] of three labels, of the picture, which is encoded for them."""
        self._encode()
        return self._text_to_mask()

    def _encoding(self) -> Any:
        if self._encoded is None:
            self._encode()
        return self._encoded
