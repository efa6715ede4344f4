"""YOLOE: text-to-mask in one pass of a detector. No classes of a whole picture, no point prompts.

ultralytics is under the AGPL: it is run here for its figures, and neither the SDK nor anything that
ships with it imports it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.speed.peers import forced
from benchmarks.speed.subject import Opened, noise_picture

_NAMES = ("dog", "grass", "sky")
_TEXT_WIDTH = 512
_CONFIDENCE = 0.9


@dataclass(frozen=True)
class YoloE:
    """YOLOE on torch.

    Attributes:
        model: the architecture's name, such as yoloe-11s-seg.
        size_px: longer side of the picture as it sees it.
        found: how many objects it is made to find.
        threads: of torch; 0 is torch's default.
    """

    model: str = "yoloe-11s-seg"
    size_px: int = 640
    found: int = 10
    threads: int = 0

    @property
    def key(self) -> str:
        """Names the architecture and the objects."""
        return f"{self.model}-k{self.found}"

    def open(self) -> Opened:
        """Builds the model from its configuration.

        Raises:
            FileNotFoundError: it has no such architecture.
        """
        # It would else look for updates, and install packages.
        os.environ.update(YOLO_OFFLINE="true", YOLO_AUTOINSTALL="false")
        import torch

        threads = self.threads or torch.get_num_threads()
        from ultralytics import YOLOE

        torch.manual_seed(forced.SEED)
        model = YOLOE(f"{self.model}.yaml")
        texts = torch.from_numpy(forced.unit_embeddings(forced.CLASSES, width=_TEXT_WIDTH))
        model.set_classes(list(_NAMES), texts[None])
        model.model.model[-1].register_forward_hook(_force(self.found))
        image = noise_picture()

        def text_to_mask() -> NDArray[np.float32]:
            # At its first picture it gives torch fewer threads than torch had.
            torch.set_num_threads(threads)
            # It takes BGR.
            found = model.predict(
                image[..., ::-1],
                imgsz=self.size_px,
                iou=1.0,
                max_det=self.found,
                retina_masks=True,
                verbose=False,
            )
            return found[0].masks.data.numpy()

        return Opened(
            name=f"{self.model}, torch",
            packages=("ultralytics-opencv-headless", "torch"),
            notes=f"{forced.RANDOM_WEIGHTS}; sees {self.size_px} px; {self.found} objects forced "
            "past its filters, none suppressed by another; the encoder is no part of its own; "
            "masks in the picture's size (retina_masks); its own limit of torch's threads is "
            "lifted; no points, no classes of a picture; AGPL",
            artifact_bytes=forced.stored_bytes(model.model),
            workloads={"picture_to_masks": text_to_mask},
        )


def _force(count: int) -> Callable[[Any, Any, Any], None]:
    """A hook of YOLOE's head, after which so many objects pass the filters."""

    def hook(_head: Any, _given: Any, answer: Any) -> None:
        # Rewrites predictions [1, 4 + classes + coefficients, anchors] in place.
        (predictions, prototypes), _ = answer
        coefficients = 4 + forced.CLASSES
        scores = predictions[:, 4:coefficients]
        anchors = forced.kept_proposals(count, of=predictions.shape[-1])
        scores.zero_()
        scores[:, np.arange(count) % forced.CLASSES, anchors] = _CONFIDENCE
        # A mask is a sum of prototypes; with these signs it is not empty, which would drop it.
        predictions[:, coefficients:, anchors] = prototypes.mean(dim=(2, 3)).sign()[..., None]

    return hook
