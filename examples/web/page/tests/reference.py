"""What the page must show: the bundle's own graphs, run by onnxruntime in Python.

    python reference.py BUNDLE PICTURE LABEL...

prints, as JSON, the presence of each label of the noun pack and its mask, as packed bits in base64.
"""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from samclip_sdk.image import Frame, load_image
from samclip_sdk.masks import binarize


def main(bundle: Path, picture: str, *labels: str) -> None:
    manifest = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
    side = manifest["tasks"]["segmentation"]["resolution"]

    def run(graph: str, feed: dict[str, NDArray[np.generic]]) -> dict[str, NDArray[np.generic]]:
        artifacts = manifest["graphs"][f"{graph}@{side}"]["artifacts"]
        path = next(each["path"] for each in artifacts if each["precision"] == "fp32")
        session = onnxruntime.InferenceSession(bundle / path, providers=["CPUExecutionProvider"])
        names = [each.name for each in session.get_outputs()]
        return dict(zip(names, session.run(names, feed), strict=True))

    pixels = load_image(picture)
    boxed = run("letterbox", {"picture": pixels})
    encoded = run("image_encoder", {"image": boxed["image"]})
    texts = embeddings(bundle / "nouns.safetensors", labels)
    found = run("text_to_mask", {**encoded, "extent": boxed["extent"], "text_embeddings": texts})
    masks = binarize(
        found["mask_logits"],
        frame=Frame.fit(*pixels.shape[:2], resolution=side),
        mask_threshold=manifest["masks"]["mask_threshold"],
    )
    present = found["presence"] >= manifest["calibration"]["presence_threshold"]
    masks &= present[:, None, None]
    bits = [base64.b64encode(np.packbits(mask)).decode("ascii") for mask in masks]
    print(json.dumps({"presence": found["presence"].tolist(), "masks": bits}))


def embeddings(path: Path, labels: tuple[str, ...]) -> NDArray[np.float32]:
    """Rows [K,E] of a label pack in int8, brought to unit length."""
    content = path.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    names = json.loads(header["__metadata__"]["labels"])
    rows = np.frombuffer(content[start:], dtype=np.int8).reshape(len(names), -1)
    chosen = rows[[names.index(label) for label in labels]].astype(np.float64)
    unit = chosen / np.linalg.norm(chosen, axis=1, keepdims=True)
    return unit.astype(np.float32)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
