"""MobileSAM: SAM's decoder behind a small image encoder. Points and boxes only.

Its authors publish no package; `mobilesam-mirror` is their repository's code as a package.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import ClassVar

from benchmarks.speed.peers import forced
from benchmarks.speed.subject import Opened, noise_picture


@dataclass(frozen=True)
class MobileSam:
    """MobileSAM's TinyViT on torch, with so many threads; 0 leaves torch's default."""

    threads: int = 0

    key: ClassVar[str] = "mobile-sam"

    def open(self) -> Opened:
        """Builds the model."""
        import torch

        with warnings.catch_warnings():
            # It registers under timm's old names, and says so eight times.
            warnings.simplefilter("ignore")
            from mobile_sam import SamPredictor, sam_model_registry

        torch.set_num_threads(self.threads or torch.get_num_threads())
        torch.manual_seed(forced.SEED)
        sam = sam_model_registry["vit_t"]().requires_grad_(False)
        predictor, image = SamPredictor(sam), noise_picture()

        @torch.inference_mode()
        def encode() -> None:
            predictor.set_image(image)

        @torch.inference_mode()
        def point() -> object:
            if not predictor.is_image_set:
                encode()
            return predictor.predict(**forced.ONE_POINT)[0]

        return Opened(
            name="MobileSAM, torch",
            packages=("mobilesam-mirror", "timm", "torch"),
            notes=f"{forced.RANDOM_WEIGHTS}; prompts only: no classes and no text",
            artifact_bytes=forced.stored_bytes(sam),
            workloads={"encode": encode, "point": point},
        )
