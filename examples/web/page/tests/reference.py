"""What the page must show: the bundle's own graphs, run by onnxruntime in Python.

    python reference.py BUNDLE IMAGE LABEL...

prints, as JSON, the presence of each label of the noun pack and its mask, as packed bits in base64.
"""

from __future__ import annotations

import base64
import json
import sys

import numpy as np

from samclip_sdk.bundle import graph_key, open_bundle
from samclip_sdk.device.goldens.app_checks import masks_of_logits
from samclip_sdk.engine.rectangles import covered_pixels
from samclip_sdk.image import Frame, load_image
from samclip_sdk.runtimes.onnx.session import OrtSession
from samclip_sdk.runtimes.session import Arrays
from samclip_sdk.text import read_vocabulary


def main(folder: str, image: str, *labels: str) -> None:
    """Prints what the three graphs answer."""
    bundle = open_bundle(folder)
    info = bundle.manifest
    side = info.tasks.segmentation.resolution

    def run(graph: str, feed: Arrays) -> Arrays:
        name = graph_key(graph, side)
        (file,) = bundle.graph_files(name, runtime="onnx", precision="fp32")
        return OrtSession(file, spec=info.graphs[name]).run(feed)

    pixels = load_image(image)
    nouns = read_vocabulary(bundle.file("nouns.safetensors"), manifest=info)
    texts = nouns.matrix[[nouns.labels.index(label) for label in labels]]
    boxed = run("letterbox", {"picture": pixels})
    frame = Frame.fit(*pixels.shape[:2], resolution=side)
    # The page leaves the padding out.
    rows, columns = covered_pixels(frame, step=info.model.image_encoder.resolution_step)
    encoded = run("image_encoder", {"image": boxed["image"][:, :, :rows, :columns]})
    found = run("text_to_mask", {**encoded, "extent": boxed["extent"], "text_embeddings": texts})
    logits, presence = (np.asarray(found[each]) for each in ("mask_logits", "presence"))
    masks = masks_of_logits(logits, presence, frame=frame, info=info)
    bits = [base64.b64encode(np.packbits(mask)).decode("ascii") for mask in masks]
    print(json.dumps({"presence": presence.tolist(), "masks": bits}))


if __name__ == "__main__":
    main(*sys.argv[1:])
