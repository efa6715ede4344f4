"""SAM and CLIP, both exported plainly to ONNX, on onnxruntime; torch is not imported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from benchmarks.speed.peers.exports import PlainSam, exported, open_net, stored_bytes
from benchmarks.speed.peers.forced import MASKS_A_POINT, POINT, POINTS_PER_SIDE, TwoModels
from benchmarks.speed.subject import IMAGE_PX

_EXPORTED_BY = ("segment-anything", "open_clip_torch", "torch")
_SAM_PX = 1024
_CLIP_MEAN = np.array([0.48145466, 0.4578275, 0.40821073], np.float32)
_CLIP_STD = np.array([0.26862954, 0.26130258, 0.27577711], np.float32)


@dataclass
class SamOnnx(TwoModels):
    """SAM's plain export and CLIP's, with onnxruntime's own session options.

    `arena` is onnxruntime's memory arena, which is on by default.
    """

    engine = "plain ONNX"
    packages = ("onnxruntime", "segment-anything", "open_clip_torch")

    arena: bool = True

    @property
    def key(self) -> str:
        """Names CLIP, the arena where it is off, and the proposals."""
        arena = "" if self.arena else "-no-arena"
        return f"sam-onnx+clip-onnx-{self.clip.lower()}{arena}-k{self.proposals}"

    def _load(self) -> tuple[str, int, int]:
        folder = exported(export, self.clip, packages=_EXPORTED_BY)
        how = {"runtime": "onnx", "arena": self.arena}
        self._sam = PlainSam(folder, side_px=_SAM_PX, **how)
        self._clip = open_net(folder / "clip_image_encoder.onnx", **how)
        columns, rows = IMAGE_PX
        centres = (np.arange(POINTS_PER_SIDE) + 0.5) / POINTS_PER_SIDE
        self._grid = [(x * columns, y * rows) for y in centres for x in centres]
        options = "onnxruntime's default session options" if self.arena else "memory arena off"
        notes = (
            f"{options}; text is not exported: its embeddings are cached; one decoder run a point, "
            "as the export takes one prompt"
        )
        return notes, stored_bytes(folder), self._clip.output_axis

    def _encode_for_sam(self) -> None:
        self._sam.encode(self._image)

    def _point(self) -> NDArray[np.bool_]:
        return self._sam.decode(POINT)[:1]

    def _propose(self) -> tuple[NDArray[np.bool_], list[tuple[float, float, float, float]]]:
        kept = []  # every point of the grid is decoded, whatever is kept
        for index, point in enumerate(self._grid):
            masks, first = self._sam.decode(point)[1:], index * MASKS_A_POINT
            kept += [masks[at - first] for at in self._kept if first <= at < first + len(masks)]
        return np.stack(kept), [Image.fromarray(mask).getbbox() or (0, 0, 0, 0) for mask in kept]

    def _embed(self, images: Sequence[Image.Image]) -> NDArray[np.float32]:
        pixels = np.stack([_clip_pixels(each, size_px=self._clip.input_axis) for each in images])
        (found,) = self._clip.run({"pixels": pixels})
        return found / np.linalg.norm(found, axis=1, keepdims=True)


def _clip_pixels(image: Image.Image, *, size_px: int) -> NDArray[np.float32]:
    """CLIP's preprocessing: the middle square, resized bicubic and normalised; float [3,S,S]."""
    square = ImageOps.fit(image, (size_px, size_px), method=Image.BICUBIC)
    normalised = (np.asarray(square, np.float32) / 255 - _CLIP_MEAN) / _CLIP_STD
    return normalised.transpose(2, 0, 1)


def export(clip: str, folder: Path) -> None:
    """Writes the graphs of both."""
    from benchmarks.speed.peers.plain_onnx import all_graphs, write_graphs

    write_graphs(all_graphs(clip), folder=folder)
