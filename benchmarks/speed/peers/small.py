"""Small peers: CLIPSeg, MobileSAM and YOLOE, each imported by its own process alone.

CLIPSeg is text-to-mask by a small decoder on CLIP's image encoder, without point prompts. MobileSAM
is SAM's decoder behind a small image encoder, for points and boxes only; its authors publish no
package, `mobilesam-mirror` is their code as one. YOLOE is text-to-mask in one pass of a detector,
without classes of a whole picture and without points; ultralytics is under the AGPL: it is run here
for its figures, and neither the SDK nor anything that ships with it imports it.
"""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from benchmarks.speed.peers import forced
from benchmarks.speed.subject import PICTURE_PX, Opened, noise_picture

_CLIPSEG_PX = 352
_RD64 = {"reduce_dim": 64, "vision_config": {"patch_size": 16}}  # beside CLIPSegConfig's defaults


@dataclass(frozen=True)
class ClipSeg:
    """CLIPSeg rd64 on torch, with so many threads; 0 leaves torch's default."""

    threads: int = 0

    key: ClassVar[str] = "clipseg-rd64"

    def open(self) -> Opened:
        """Builds the model and its image processor."""
        import torch
        from transformers import CLIPSegConfig, CLIPSegForImageSegmentation, ViTImageProcessor

        torch.set_num_threads(self.threads or torch.get_num_threads())
        torch.manual_seed(forced.SEED)
        model = CLIPSegForImageSegmentation(CLIPSegConfig(**_RD64)).eval().requires_grad_(False)
        processor = ViTImageProcessor(
            size={"height": _CLIPSEG_PX, "width": _CLIPSEG_PX},
            image_mean=[0.485, 0.456, 0.406],
            image_std=[0.229, 0.224, 0.225],
        )
        width, image = model.config.projection_dim, noise_picture()
        labels, classes = (
            forced.unit_embeddings(count, width=width) for count in (forced.LABELS, forced.CLASSES)
        )
        encoded: Any = None

        @torch.inference_mode()
        def encode() -> None:
            nonlocal encoded
            pixels = processor(images=image, return_tensors="pt")
            encoded = model.clip.get_image_features(
                **pixels, interpolate_pos_encoding=True, output_hidden_states=True
            )

        def classify() -> NDArray[np.float32]:
            embedding = encoded.pooler_output[0].numpy()
            return forced.rank(embedding / np.linalg.norm(embedding), labels)

        @torch.inference_mode()
        def text_to_mask() -> NDArray[np.bool_]:
            layers = [encoded.hidden_states[1 + layer] for layer in model.config.extract_layers]
            shared = [layer.expand(forced.CLASSES, -1, -1) for layer in layers]
            logits = model.decoder(shared, torch.from_numpy(classes)).logits[:, None]
            size = PICTURE_PX[::-1]
            sized = torch.nn.functional.interpolate(logits, size, mode="bilinear")
            return (sized[:, 0] > 0).numpy()

        return Opened(
            name="CLIPSeg rd64, torch",
            packages=("transformers", "torch"),
            notes=f"{forced.RANDOM_WEIGHTS}; sees {_CLIPSEG_PX} px; text3 runs the decoder for "
            "three labels on one encoding, where the package's own forward would encode the "
            "picture for each label; classify is that of the CLIP inside; no points",
            artifact_bytes=forced.stored_bytes(model),
            workloads={
                "encode": encode,
                "classify": classify,
                "text3": text_to_mask,
                "picture_to_masks": lambda: (encode(), text_to_mask())[1],
            },
        )


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
            return predictor.predict(**forced.ONE_POINT)[0]

        return Opened(
            name="MobileSAM, torch",
            packages=("mobilesam-mirror", "timm", "torch"),
            notes=f"{forced.RANDOM_WEIGHTS}; prompts only: no classes and no text",
            artifact_bytes=forced.stored_bytes(sam),
            workloads={"encode": encode, "point": point},
        )


_YOLOE, _YOLOE_PX, _FOUND = "yoloe-11s-seg", 640, 10
_NAMES = ("dog", "grass", "sky")
_TEXT_WIDTH = 512
_CONFIDENCE = 0.9


@dataclass(frozen=True)
class YoloE:
    """YOLOE on torch, with so many threads; it is made to find ten objects."""

    threads: int = 0

    key: ClassVar[str] = f"{_YOLOE}-k{_FOUND}"

    def open(self) -> Opened:
        """Builds the model from its configuration."""
        # It would else look for updates, and install packages.
        os.environ.update(YOLO_OFFLINE="true", YOLO_AUTOINSTALL="false")
        import torch

        threads = self.threads or torch.get_num_threads()
        from ultralytics import YOLOE

        torch.manual_seed(forced.SEED)
        model = YOLOE(f"{_YOLOE}.yaml")
        texts = torch.from_numpy(forced.unit_embeddings(forced.CLASSES, width=_TEXT_WIDTH))
        model.set_classes(list(_NAMES), texts[None])
        model.model.model[-1].register_forward_hook(_force)
        image = noise_picture()

        def text_to_mask() -> NDArray[np.float32]:
            # At its first picture it gives torch fewer threads than torch had.
            torch.set_num_threads(threads)
            # It takes BGR.
            found = model.predict(
                image[..., ::-1],
                imgsz=_YOLOE_PX,
                iou=1.0,
                max_det=_FOUND,
                retina_masks=True,
                verbose=False,
            )
            return found[0].masks.data.numpy()

        return Opened(
            name=f"{_YOLOE}, torch",
            packages=("ultralytics-opencv-headless", "torch"),
            notes=f"{forced.RANDOM_WEIGHTS}; sees {_YOLOE_PX} px; {_FOUND} objects forced "
            "past its filters, none suppressed by another; the encoder is no part of its own; "
            "masks in the picture's size (retina_masks); its own limit of torch's threads is "
            "lifted; no points, no classes of a picture; AGPL",
            artifact_bytes=forced.stored_bytes(model.model),
            workloads={"picture_to_masks": text_to_mask},
        )


def _force(_head: Any, _given: Any, answer: Any) -> None:
    """A hook of YOLOE's head, after which the objects pass the filters.

    It rewrites predictions [1, 4 + classes + coefficients, anchors] in place.
    """
    (predictions, prototypes), _ = answer
    coefficients = 4 + forced.CLASSES
    scores = predictions[:, 4:coefficients]
    anchors = forced.kept_proposals(_FOUND, of=predictions.shape[-1])
    scores.zero_()
    scores[:, np.arange(_FOUND) % forced.CLASSES, anchors] = _CONFIDENCE
    # A mask is a sum of prototypes; with these signs it is not empty, which would drop it.
    predictions[:, coefficients:, anchors] = prototypes.mean(dim=(2, 3)).sign()[..., None]
