"""The objects that the Python package tells.

    python objects.py BUNDLE IMAGE LABEL...

prints, as JSON, the pixels of the image, at the size of the model's input, and every object of
the labels, each mask as packed bits; pixels and bits in base64.
"""

from __future__ import annotations

import base64
import json
import sys

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from samclip_sdk import SamClip
from samclip_sdk.image import load_image
from samclip_sdk.text.word_table import readings_dict


def main(folder: str, image: str, *labels: str) -> None:
    """Prints what `segment_instances` answers, by the bundle's fp32 files."""
    model = SamClip.load("onnx", model=folder, precision="fp32")
    side = model.manifest.tasks.segmentation.resolution  # No resampler has a part in it.
    pixels = np.asarray(ImageOps.contain(Image.fromarray(load_image(image)), (side, side)))
    found = model.segment_instances(pixels, labels, min_score=0)
    told = readings_dict(found.read_as)
    objects = [
        {
            "label": each.label,
            "score": each.score,
            "labelScore": each.label_score,
            "predictedIou": each.predicted_iou,
            "stabilityScore": each.stability_score,
            "mask": _base64(np.packbits(each.mask)),
            "readAs": told.get(each.label),
        }
        for each in found
    ]
    height, width = pixels.shape[:2]
    entry = {"data": _base64(pixels), "width": width, "height": height}
    print(json.dumps({"image": entry, "objects": objects}))


def _base64(values: NDArray[np.uint8]) -> str:
    return base64.b64encode(np.ascontiguousarray(values)).decode("ascii")


if __name__ == "__main__":
    main(*sys.argv[1:])
