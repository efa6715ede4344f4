"""samclip as a model of X-AnyLabeling-Server: texts, points, boxes, or everything there is.

Install the package beside the server (`pip install 'samclip-sdk[onnx]'`) and put three files into a
checkout of it:

    app/models/samclip.py                 this file
    configs/auto_labeling/samclip.yaml    the file beside it: the model's parameters and widgets
    configs/models.yaml                   its line, which enables the model

In X-AnyLabeling, choose Remote-Server and then samclip. "Send" finds the texts (`dog, cat`), a
point or a box what it marks, and "Run" everything there is, with names.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from threading import Lock
from typing import Any

import numpy as np
from app.core.registry import register_model
from app.models import BaseModel
from app.schemas.shape import Shape

from samclip_sdk import ImageEmbedding, SamClip
from samclip_sdk.bundle import DEFAULT_MODEL
from samclip_sdk.results import MaskItem

KEPT_IMAGES = 8
UNNAMED = "AUTOLABEL_OBJECT"  # For what was pointed at; X-AnyLabeling then asks for its name.


@register_model("samclip")
class SamClipModel(BaseModel):
    """One model; the server's threads may ask it at once."""

    def load(self) -> None:
        """Opens the model that `params` of the YAML file name."""
        runtime = self.params.get("runtime", "onnx")
        self.model = SamClip.load(runtime, model=self.params.get("model_path") or DEFAULT_MODEL)
        self._encoded: OrderedDict[bytes, ImageEmbedding] = OrderedDict()
        self._lock = Lock()

    def unload(self) -> None:
        """Frees the model."""
        self.model.close()
        self._encoded.clear()

    def predict(self, image: np.ndarray, params: dict[str, Any]) -> dict[str, Any]:
        """Answers a request of X-AnyLabeling's.

        Args:
            image: uint8 [H,W,3], BGR.
            params: `marks` (points and rectangles), `text_prompt`, and what overrules the YAML
                file's parameters.
        """
        options = {**self.params, **params}
        encoded = self._encode(image)
        if options.get("marks"):
            found = [(each, UNNAMED) for each in self._marked(encoded, options["marks"])]
        elif (options.get("text_prompt") or "").strip():
            labels = split_texts(options["text_prompt"])
            objects = self.model.segment_instances(encoded, labels)
            found = [(each, each.label) for each in objects]
        else:
            side = int(options.get("points_per_side", 32))
            objects = self.model.segment_everything(encoded, points_per_side=side)
            found = [(each, each.label or UNNAMED) for each in objects]
        minimum = float(options.get("conf_threshold", 0.0))
        shapes = [
            shape
            for item, label in found
            if item.score >= minimum and item.area
            for shape in to_shapes(item, label=label, options=options)
        ]
        return {"shapes": shapes, "description": ""}

    def _encode(self, image: np.ndarray) -> ImageEmbedding:
        """The one pass of the image encoder, for the many prompts of the last images."""
        key = hashlib.sha256(f"{image.shape}".encode() + image.tobytes()).digest()
        with self._lock:
            if key not in self._encoded:
                self._encoded[key] = self.model.encode_image(np.ascontiguousarray(image[..., ::-1]))
            self._encoded.move_to_end(key)
            while len(self._encoded) > KEPT_IMAGES:
                self._encoded.popitem(last=False)
            return self._encoded[key]

    def _marked(self, image: ImageEmbedding, marks: list[dict[str, Any]]) -> list[MaskItem]:
        """What was marked: points with the last box are one prompt, boxes alone an object each."""
        edge = np.array([image.frame.width_px, image.frame.height_px])
        points = [mark for mark in marks if mark["type"] == "point"]
        boxes = [upright(mark["data"]) for mark in marks if mark["type"] == "rectangle"]
        if not points:
            return list(self.model.segment(image, boxes=boxes or None))
        # A click on the far edge means the last pixel. A single point may mean a thing or a part of
        # it, and has three masks: the one that the model thinks best counts.
        masks = self.model.segment(
            image,
            points=np.clip([mark["data"][:2] for mark in points], 0, edge - 0.5),
            point_labels=[int(mark.get("label", 1)) for mark in points],
            boxes=boxes[-1] if boxes else None,
        )
        return list(masks.best())


def upright(corners: list[float]) -> list[float]:
    """A box XYXY from two corners of it, drawn in any direction."""
    (x0, x1), (y0, y1) = sorted(corners[0::2]), sorted(corners[1::2])
    return [x0, y0, x1, y1]


def split_texts(text: str) -> list[str]:
    """The labels of a text with commas or full stops between them, each once."""
    parts = text.replace(".", ",").split(",")
    return list(dict.fromkeys(part.strip() for part in parts if part.strip()))


def to_shapes(item: MaskItem, *, label: str, options: dict[str, Any]) -> list[Shape]:
    """A mask as the polygons of its parts, as a box, or both, as the parameters say."""
    x0, y0, x1, y1 = item.box.tolist()
    score = min(max(item.score, 0.0), 1.0)  # A predicted IoU may leave this range.
    shapes = []
    if options.get("show_masks", True):
        rings = item.polygons(tolerance_px=float(options.get("tolerance_px", 1.0)))
        shapes += [("polygon", [*ring.tolist(), ring[0].tolist()]) for ring in rings]
    if options.get("show_boxes", False):
        shapes.append(("rectangle", [[x0, y0], [x1, y0], [x1, y1], [x0, y1]]))
    return [
        Shape(label=label, shape_type=kind, points=points, score=score) for kind, points in shapes
    ]
