"""MobileSAM: SAM's decoder behind a small image encoder. Points and boxes only.

Its authors publish no package; `mobilesam-mirror` is their repository's code as a package.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from benchmarks.speed.peers.forced import (
    POINT,
    RANDOM_WEIGHTS,
    SEED,
    picture,
    stored_bytes,
    versions,
)
from benchmarks.speed.subject import Opened


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
        torch.manual_seed(SEED)
        sam = sam_model_registry["vit_t"]().requires_grad_(False)
        predictor, image = SamPredictor(sam), picture()

        @torch.inference_mode()
        def encode() -> None:
            predictor.set_image(image)

        @torch.inference_mode()
        def point() -> object:
            if not predictor.is_image_set:
                encode()
            return predictor.predict(
                point_coords=np.array([POINT]), point_labels=np.array([1]), multimask_output=False
            )[0]

        return Opened(
            name="MobileSAM, torch",
            package_versions=versions("mobilesam-mirror", "timm", "torch"),
            precision="fp32",
            notes=f"{RANDOM_WEIGHTS}; prompts only: no classes and no text",
            artifact_bytes=stored_bytes(sam),
            workloads={"encode": encode, "point": point},
        )
