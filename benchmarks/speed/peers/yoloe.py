"""YOLOE: text-to-mask in one pass of a detector, without classes of an image and without points.

ultralytics is under the AGPL: it is run here for its figures, and neither the SDK nor anything that
ships with it imports it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.speed.peers import forced
from benchmarks.speed.peers.exports import ExportedPeer, exported
from benchmarks.speed.subject import Opened, noise_image

_PX, _FOUND = 640, 10
_NAMES = ("dog", "grass", "sky")
_TEXT_WIDTH = 512
_CONFIDENCE = 0.9
_FILES = {"onnx": "model.onnx", "openvino": "model_openvino_model"}
"""What ultralytics' exporter makes of model.pt."""


@dataclass(frozen=True)
class YoloE(ExportedPeer):
    """A YOLOE of ultralytics' names, exported by its exporter; it is made to find ten objects."""

    packages = ("ultralytics-opencv-headless", "torch")

    network: str = "yoloe-26s-seg"

    @property
    def key(self) -> str:
        """Names the network, the runtime and the number of objects."""
        return f"{self.network}-{self.runtime}-k{_FOUND}"

    def open(self) -> Opened:
        """Opens the exported network in ultralytics' own pipeline."""
        _stay_offline()
        from ultralytics import YOLO

        folder = exported(export, self.network, packages=self.packages)
        path = folder / _FILES[self.runtime]
        model, image = YOLO(path, task="segment"), noise_image()

        def text_to_mask() -> NDArray[np.float32]:
            # It takes BGR.
            found = model.predict(
                image[..., ::-1],
                imgsz=_PX,
                iou=1.0,
                max_det=_FOUND,
                retina_masks=True,
                verbose=False,
                device="cpu",
            )
            masks: NDArray[np.float32] = found[0].masks.data.numpy()
            return masks

        model.predict(image, imgsz=_PX, verbose=False, device="cpu")  # makes the predictor
        model.predictor.model.register_forward_hook(_force)
        return self.opened(
            self.network,
            notes=f"sees {_PX} px; {_FOUND} objects forced past its filters, none suppressed by "
            "another; the encoder is no part of its own; masks in the image's size "
            "(retina_masks); no points, no classes of an image; AGPL",
            files=path,
            workloads={"image_to_masks": text_to_mask},
        )


def export(network: str, folder: Path) -> None:
    """Writes a network of three classes for both runtimes, by ultralytics' exporter."""
    _stay_offline()
    import torch
    from ultralytics import YOLOE

    from samclip_sdk.system.atomic_folder import atomic_folder

    torch.manual_seed(forced.SEED)
    model = YOLOE(f"{network}.yaml")
    texts = torch.from_numpy(forced.unit_embeddings(forced.CLASSES, width=_TEXT_WIDTH))
    model.set_classes(list(_NAMES), texts[None])
    with atomic_folder(folder) as partial:
        model.model.pt_path = str(partial / "model.pt")
        for runtime in _FILES:
            model.export(format=runtime, imgsz=_PX, verbose=False)


def _stay_offline() -> None:
    """It would else look for updates, and install packages."""
    os.environ.update(YOLO_OFFLINE="true", YOLO_AUTOINSTALL="false")


def _force(_backend: Any, _given: Any, answer: Any) -> None:
    """A hook of the exported network, after which the objects pass the filters.

    It rewrites predictions [1, 4 + classes + coefficients, anchors] in place.
    """
    predictions, prototypes = answer
    coefficients = 4 + forced.CLASSES
    scores = predictions[:, 4:coefficients]
    anchors = forced.kept_proposals(_FOUND, of=predictions.shape[-1])
    centres = np.linspace(200, _PX - 200, _FOUND, dtype=np.float32)
    boxes = np.stack([centres, centres, centres / 2, centres / 2])  # centres and sizes
    predictions[:, :4, anchors] = predictions.new_tensor(boxes)
    scores.zero_()
    scores[:, np.arange(_FOUND) % forced.CLASSES, anchors] = _CONFIDENCE
    # A mask is a sum of prototypes; with these signs it is not empty, which would drop it.
    predictions[:, coefficients:, anchors] = prototypes.mean(dim=(2, 3)).sign()[..., None]
