"""samclip as Label Studio's ML backend: masks of a project's labels, and of points and boxes.

    pip install 'samclip-sdk[onnx]' label-studio-ml redis rq label-studio-sdk
    export LABEL_STUDIO_URL=http://localhost:8080 LABEL_STUDIO_API_KEY=...
    python examples/integrations/label_studio_backend.py --port 9090

Add http://localhost:9090 under Settings, Model, with interactive preannotations. Predictions are
regions of the first of these tags in the labelling configuration: BrushLabels, PolygonLabels,
RectangleLabels. Smart KeyPointLabels and RectangleLabels are prompts. The model looks for a
label's name, or for its `predicted_values`: `<Label value="P1"
predicted_values="person, rider"/>`.

Environment variables choose the model: SAMCLIP_MODEL (bundle folder, .zip or name) and
SAMCLIP_RUNTIME.
"""

from __future__ import annotations

import argparse
import logging
import os
from functools import lru_cache
from typing import Any
from uuid import uuid4

import numpy as np
from flask import Flask
from label_studio_ml.api import init_app
from label_studio_ml.model import LabelStudioMLBase
from label_studio_sdk._extensions.label_studio_tools.core.utils.io import get_local_path
from label_studio_sdk.converter.brush import mask2rle

from samclip_sdk import ImageEmbedding, ImageError, SamClip
from samclip_sdk.bundle import DEFAULT_MODEL
from samclip_sdk.results import MaskItem

OUTPUTS = ("BrushLabels", "PolygonLabels", "RectangleLabels")
TOLERANCE_PX = 1.0  # how far a polygon may leave the mask's edge, for fewer corners


# Label Studio's server makes a backend object for each project or request; these live longer.
@lru_cache(maxsize=1)
def load_model() -> SamClip:
    runtime = os.environ.get("SAMCLIP_RUNTIME", "onnx")
    return SamClip.load(runtime, model=os.environ.get("SAMCLIP_MODEL", DEFAULT_MODEL))


@lru_cache(maxsize=16)
def encode(path: str) -> ImageEmbedding:
    """Runs the image encoder once, for all prompts of an image."""
    return load_model().encode_image(path)


class SamClipBackend(LabelStudioMLBase):
    """Answers Label Studio's requests for predictions; it is not trained there."""

    def predict(
        self, tasks: list[dict], context: dict[str, Any] | None = None, **_: Any
    ) -> list[dict]:
        """Makes a prediction for each task, from its labels or the prompts in `context`."""
        name, control = find_output(self.parsed_label_config)
        prompts = (context or {}).get("result") or []
        predictions = []
        for task in tasks:
            url = task["data"][control["inputs"][0]["value"]]
            try:
                image = encode(get_local_path(url, task_id=task.get("id")))
            except ImageError as error:  # One damaged image does not cost the other tasks theirs.
                logging.warning("task %s: %s", task.get("id"), error)
                predictions.append({"result": [], "score": 0.0})
                continue
            found = segment_prompts(image, prompts) if prompts else segment_labels(image, control)
            regions = [
                {**region, "from_name": name, "to_name": control["to_name"][0]}
                for item, label in found
                for region in to_regions(item, label=label, kind=control["type"])
            ]
            mean = float(np.mean([each["score"] for each in regions])) if regions else 0.0
            predictions.append({"result": regions, "score": mean})
        return predictions


def find_output(config: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Finds the name and the parsed tag for which predictions are written."""
    for kind in OUTPUTS:
        for name, control in config.items():
            if control["type"] == kind:
                return name, control
    raise ValueError(f"the labelling configuration has none of these tags: {', '.join(OUTPUTS)}")


def segment_labels(image: ImageEmbedding, control: dict[str, Any]) -> list[tuple[MaskItem, str]]:
    """Finds every object of the project's labels."""
    labels = {
        text.strip(): label
        for label, tag in control["labels_attrs"].items()
        for text in (tag.get("predicted_values") or tag.get("value") or label).split(",")
    }
    found = load_model().segment_instances(image, list(labels))
    return [(each, labels[each.label]) for each in found]


def segment_prompts(image: ImageEmbedding, regions: list[dict]) -> list[tuple[MaskItem, str]]:
    """Segments the thing at points and a box; of several boxes, each is an object."""
    width, height = image.frame.width_px, image.frame.height_px
    points, kinds, boxes, labels = [], [], [], []
    for region in regions:
        kind, value = region["type"], region["value"]
        if kind not in ("keypointlabels", "rectanglelabels"):
            continue
        x, y = value["x"] * width / 100, value["y"] * height / 100
        if kind == "keypointlabels":
            # A click on the far edge, at 100 %, means the last pixel.
            points.append((min(max(x, 0), width - 0.5), min(max(y, 0), height - 0.5)))
            kinds.append(int(region.get("is_positive", True)))
        else:
            far = x + value["width"] * width / 100, y + value["height"] * height / 100
            boxes.append((x, y, *far))
        labels.append((value.get(kind) or [""])[0])
    if not labels:
        raise ValueError("nothing to segment: draw a smart keypoint or a smart rectangle")
    if points:
        # All points and the last box are one prompt. A single point may mean a thing or a part of
        # it: take the best of three masks.
        masks = load_model().segment(
            image,
            points=points,
            point_labels=kinds,
            boxes=boxes[-1] if boxes else None,
        )
        return [(masks.best()[0], labels[-1])]
    masks = load_model().segment(image, boxes=boxes)
    return [(each, labels[each.prompt_index]) for each in masks]


def to_regions(item: MaskItem, *, label: str, kind: str) -> list[dict[str, Any]]:
    """Converts a mask to regions of a tag, in per cent of the image; none if it is empty."""
    height, width = item.mask.shape
    if not item.area:
        return []
    if kind == "BrushLabels":
        values = [{"format": "rle", "rle": mask2rle(item.mask.astype(np.uint8) * 255)}]
    elif kind == "PolygonLabels":
        scale = np.array([100 / width, 100 / height])
        rings = item.polygons(tolerance_px=TOLERANCE_PX)
        values = [{"points": (ring * scale).tolist(), "closed": True} for ring in rings]
    else:
        x0, y0, x1, y1 = item.box.tolist()
        sides = {"width": (x1 - x0) * 100 / width, "height": (y1 - y0) * 100 / height}
        values = [{"x": x0 * 100 / width, "y": y0 * 100 / height, **sides, "rotation": 0}]
    return [
        {
            "id": uuid4().hex[:10],
            "type": kind.lower(),
            "original_width": width,
            "original_height": height,
            "image_rotation": 0,
            "score": item.score,
            "value": {**value, kind.lower(): [label]},
        }
        for value in values
    ]


def make_app() -> Flask:
    """Makes label-studio-ml's server of the backend."""
    app = init_app(SamClipBackend)
    # The model learns nothing from annotations; label-studio-ml 1.0 would start a process for each.
    app.view_functions["webhook"] = lambda: ("", 204)
    return app


def main() -> None:
    parser = argparse.ArgumentParser(description="samclip as Label Studio's ML backend")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=9090)
    options = parser.parse_args()
    load_model()  # What is wrong with it is told before Label Studio asks.
    make_app().run(host=options.host, port=options.port)


if __name__ == "__main__":
    main()
