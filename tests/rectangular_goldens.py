"""A bundle whose goldens are of images without their padding, for packages in other languages.

    python -m tests.rectangular_goldens BUNDLE FOLDER

A bundle's own goldens of the way from an image to an answer are of whole squares, which every
runtime takes. Those of the copy that this writes to FOLDER are what this package answers on
onnxruntime, of a wide and of a tall image: of two of the bundle's side by side, and of two on top
of each other.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

from samclip_sdk.bundle.contract import graph_key
from samclip_sdk.bundle.manifest import GOLDEN_INDEX, GOLDEN_TENSORS
from samclip_sdk.bundle.open import open_bundle
from samclip_sdk.device.goldens.app_checks import masks_of_logits
from samclip_sdk.device.goldens.schema import (
    Expected,
    GoldenImageEmbedding,
    GoldenIndex,
    GoldenSegment,
    GoldenTextToMask,
)
from samclip_sdk.engine.classify import embed_image
from samclip_sdk.engine.engine import Engine
from samclip_sdk.engine.one_pass import Pass
from samclip_sdk.engine.segment import decode_in_boxes
from samclip_sdk.image.image_prompts import image_prompts
from samclip_sdk.results.image_embedding import ImageEmbedding
from samclip_sdk.runtimes.source import BundleSource
from samclip_sdk.system.timing import Stopwatch
from samclip_sdk.text.vocabulary import read_vocabulary
from tests.example_bundle import change_files

TILES = {".wide": (1, 2, 1), ".tall": (2, 1, 1)}
"""The end of the keys of an image, and of what is expected of it -> how often it is repeated."""


def main(bundle: str, folder: Path) -> None:
    """Copies the bundle, and writes the goldens of the copy."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(bundle, folder)
    index = GoldenIndex.model_validate_json((folder / GOLDEN_INDEX).read_bytes())
    answers = _Answers(folder)
    answered = {
        kind: tuple(answer(each, end) for each in getattr(index, kind) for end in TILES)
        for kind, answer in (
            ("segment", answers.segment),
            ("image_embeddings", answers.image_embedding),
            ("text_to_mask", answers.text_to_mask),
        )
    }
    written = index.model_copy(update=answered).model_dump_json().encode()
    tensors = safetensors.numpy.save(answers.tensors)
    change_files(folder, {GOLDEN_INDEX: written, GOLDEN_TENSORS: tensors})


class _Answers:
    """Answers a bundle's goldens, of an image of `TILES`."""

    def __init__(self, folder: Path) -> None:
        self._bundle = open_bundle(folder)
        self._engine = Engine(
            BundleSource(self._bundle, runtime="onnx", precision="fp32", warn=False)
        )
        self.tensors = safetensors.numpy.load_file(folder / GOLDEN_TENSORS)

    def segment(self, golden: GoldenSegment, end: str) -> GoldenSegment:
        one = Pass(self._engine, self._image(golden.image, end))
        prompts = image_prompts(
            golden.points or None, point_labels=golden.labels or None, boxes=golden.box
        )
        low_res, scores = decode_in_boxes(
            one, prompts.in_model(one.frame, mask_side=one.mask_side), tokens=slice(None)
        )
        return golden.model_copy(
            update={
                "image": golden.image + end,
                "low_res_masks": self._expected(golden.low_res_masks, end, low_res),
                "iou_predictions": self._expected(golden.iou_predictions, end, scores),
            }
        )

    def image_embedding(self, golden: GoldenImageEmbedding, end: str) -> GoldenImageEmbedding:
        found = embed_image(
            Pass(self._engine, self._image(golden.image, end), task="classification")
        )
        return GoldenImageEmbedding(
            image=golden.image + end, expected=self._expected(golden.expected, end, found)
        )

    def text_to_mask(self, golden: GoldenTextToMask, end: str) -> GoldenTextToMask:
        info = self._bundle.manifest
        seen = self._encoded(golden.image, end)
        feed = {
            "image_tokens": seen.image_tokens,
            "image_embeddings": seen.image_embeddings,
            "extent": seen.frame.extent(),
            "text_embeddings": read_vocabulary(
                self._bundle.file(golden.pack), manifest=info
            ).matrix,
        }
        graph = graph_key("text_to_mask", seen.frame.resolution)
        found = self._engine.run(graph, feed, clock=Stopwatch())
        logits, presence = found["mask_logits"], found["presence"]
        masks = masks_of_logits(logits, presence, frame=seen.frame, info=info)
        self.tensors[golden.masks + end] = np.packbits(masks)
        return GoldenTextToMask(
            image=golden.image + end,
            pack=golden.pack,
            presence=presence.tolist(),
            scores=found["scores"].tolist(),
            masks=golden.masks + end,
        )

    def _encoded(self, key: str, end: str) -> ImageEmbedding:
        return Pass(self._engine, self._image(key, end)).embedding

    def _image(self, key: str, end: str) -> NDArray[np.uint8]:
        self.tensors[key + end] = np.tile(self.tensors[key], TILES[end])
        return self.tensors[key + end]

    def _expected(self, like: Expected, end: str, found: NDArray[np.float32]) -> Expected:
        self.tensors[like.tensor + end] = found.reshape(-1)[:: like.step].copy()
        return like.model_copy(update={"tensor": like.tensor + end})


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
