"""samclip in FiftyOne: a model for `apply_model`, and its results as FiftyOne's labels.

    pip install 'samclip-sdk[onnx]' fiftyone
    python examples/integrations/fiftyone_model.py photos dog cat

This finds the labels in a folder and opens FiftyOne's app on it. In your own program:

    dataset.apply_model(SamClipDetector(["dog", "cat"]), label_field="samclip")

FiftyOne keeps datasets in MongoDB. It starts the MongoDB of its own package if it has one.
Otherwise FIFTYONE_DATABASE_URI names a running one. The labels themselves need no database.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import fiftyone as fo
import numpy as np

from samclip_sdk import SamClip
from samclip_sdk.bundle import DEFAULT_MODEL
from samclip_sdk.results import MaskResult, TextMasks


class SamClipDetector(fo.Model):
    """Finds the objects of labels: `fiftyone.Detections` with masks."""

    def __init__(
        self, labels: Sequence[str], *, runtime: str = "onnx", model: str = DEFAULT_MODEL
    ) -> None:
        self.labels = tuple(labels)
        self.model = SamClip.load(runtime, model=model)

    @property
    def media_type(self) -> str:
        """The kind of media that FiftyOne may apply the model to."""
        return "image"

    def predict(self, arg: np.ndarray) -> fo.Detections:
        """Finds the objects in an image.

        Args:
            arg: uint8 [H,W,3], RGB, as FiftyOne reads images; grey ones are [H,W] or [H,W,1].
        """
        return to_detections(self.model.segment_instances(arg, self.labels))


def to_detections(result: MaskResult) -> fo.Detections:
    """Converts a result with masks to FiftyOne's detections.

    Boxes are [x, y, width, height] as shares of the image, and masks are cut to them. Empty masks
    are left out.
    """
    height, width = result.size
    detections = []
    for item in result:
        x0, y0, x1, y1 = item.box.astype(int).tolist()
        if not item.area:
            continue
        detections.append(
            fo.Detection(
                label=getattr(item, "label", "") or "object",
                bounding_box=[x0 / width, y0 / height, (x1 - x0) / width, (y1 - y0) / height],
                mask=item.mask[y0:y1, x0:x1],
                confidence=item.score,
                index=getattr(item, "id", None),
            )
        )
    return fo.Detections(detections=detections)


def to_segmentation(result: TextMasks) -> fo.Segmentation:
    """The class of each pixel: the place of its label, from 1; 0 where there is none."""
    return fo.Segmentation(mask=(result.class_map + 1).astype(np.uint16))


def main() -> None:
    parser = argparse.ArgumentParser(description="labels of a folder of images, in FiftyOne")
    parser.add_argument("folder")
    parser.add_argument("labels", nargs="+")
    options = parser.parse_args()
    dataset = fo.Dataset.from_images_dir(options.folder)
    dataset.apply_model(SamClipDetector(options.labels), label_field="samclip")
    fo.launch_app(dataset).wait()


if __name__ == "__main__":
    main()
