"""SAM and CLIP, both exported plainly to ONNX, on onnxruntime; torch is not imported."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.speed.peers.forced import (
    MASKS_A_POINT,
    POINT,
    TwoModels,
    kept_proposals,
    two_models_notes,
    versions,
)
from benchmarks.speed.peers.onnx_cache import exported
from benchmarks.speed.subject import Opened

_CLIP_MEAN = np.array([0.48145466, 0.4578275, 0.40821073], np.float32)
_CLIP_STD = np.array([0.26862954, 0.26130258, 0.27577711], np.float32)


@dataclass(frozen=True)
class SamOnnx:
    """SAM's plain export and CLIP's, with onnxruntime's own session options.

    Attributes:
        clip: an open_clip architecture, or the path of a JSON file of one.
        arena: onnxruntime's memory arena, which is on by default.
        proposals: masks that everything-mode is made to find, each seen by CLIP.
        points_per_side: of everything-mode's grid.
        threads: of onnxruntime; 0 leaves its default.
        sam: of segment-anything's registry.
        cache: the folder that holds exports; the user's cache by default.
    """

    clip: str = "ViT-B-16"
    arena: bool = True
    proposals: int = 10
    points_per_side: int = 8
    threads: int = 0
    sam: str = "vit_b"
    cache: str | Path | None = None

    @property
    def key(self) -> str:
        """Names CLIP, the arena where it is off, and the proposals."""
        arena = "" if self.arena else "-no-arena"
        return f"sam-onnx+clip-onnx-{self.clip.lower()}{arena}-k{self.proposals}"

    def open(self) -> Opened:
        """Opens the three graphs, after exporting them where the cache has none.

        Raises:
            RuntimeError: the export failed.
            ValueError: more proposals than the grid has masks.
        """
        paths = exported(self.sam, self.clip, cache=Path(self.cache) if self.cache else None)
        models = PlainGraphs(
            {name: self._session(path) for name, path in paths.items()},
            kept=kept_proposals(self.proposals, of=MASKS_A_POINT * self.points_per_side**2),
            points_per_side=self.points_per_side,
        )
        return Opened(
            name=f"SAM {self.sam} + OpenCLIP {self.clip}, plain ONNX",
            package_versions=versions("onnxruntime", "segment-anything", "open_clip_torch"),
            precision="fp32",
            notes=two_models_notes(
                "onnxruntime's default session options" if self.arena else "memory arena off",
                "text is not exported: its embeddings are cached",
                points_per_side=self.points_per_side,
                proposals=self.proposals,
                how=", one decoder run each, as the export takes one prompt",
            ),
            artifact_bytes=sum(path.stat().st_size for path in paths.values()),
            workloads=models.workloads(),
            adds_up=True,
        )

    def _session(self, path: Path) -> Any:
        # As the SDK does, which this process must not import.
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.enable_cpu_mem_arena = self.arena
        options.intra_op_num_threads = self.threads
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


class PlainGraphs(TwoModels):
    """The workloads of the three graphs.

    Args:
        sessions: by the names of `onnx_cache.GRAPHS`.
        kept: which of everything-mode's masks are kept, by force.
        points_per_side: of everything-mode's grid.
    """

    def __init__(
        self, sessions: dict[str, Any], *, kept: NDArray[np.int64], points_per_side: int
    ) -> None:
        clip, decoder = sessions["clip_image_encoder"], sessions["mask_decoder"]
        super().__init__(width=clip.get_outputs()[0].shape[-1])
        self._sessions = sessions
        self._clip_px: int = clip.get_inputs()[0].shape[-1]
        shapes = {each.name: each.shape for each in decoder.get_inputs()}
        self._mask_shape: list[int] = shapes["mask_input"]
        self._embeddings: NDArray[np.float32] | None = None
        height, width = self.picture.shape[:2]
        centres = (np.arange(points_per_side) + 0.5) / points_per_side
        self._grid = [(x * width, y * height) for y in centres for x in centres]
        self._kept = kept
        scale = 4 * self._mask_shape[-1] / max(height, width)
        self._resized_px = int(width * scale + 0.5), int(height * scale + 0.5)

    def encode_for_sam(self) -> None:
        """See `TwoModels`; the graph normalises and pads."""
        resized = Image.fromarray(self.picture).resize(self._resized_px, Image.BILINEAR)
        feed = {"input_image": np.asarray(resized, np.float32)}
        self._embeddings = self._sessions["image_encoder"].run(["image_embeddings"], feed)[0]

    def point(self) -> NDArray[np.bool_]:
        """See `TwoModels`."""
        return self._decode(POINT)[:1]

    def propose(self) -> tuple[NDArray[np.bool_], list[tuple[float, float, float, float]]]:
        """See `TwoModels`; every point of the grid is decoded, whatever is kept."""
        kept = []
        for index, point in enumerate(self._grid):
            masks, first = self._decode(point)[1:], index * MASKS_A_POINT
            kept += [masks[at - first] for at in self._kept if first <= at < first + len(masks)]
        return np.stack(kept), [_bounds(mask) for mask in kept]

    def embed(self, pictures: Sequence[Image.Image]) -> NDArray[np.float32]:
        """See `TwoModels`."""
        pixels = np.stack([_clip_pixels(each, size_px=self._clip_px) for each in pictures])
        embeddings: NDArray[np.float32] = self._sessions["clip_image_encoder"].run(
            ["embeddings"], {"pixels": pixels}
        )[0]
        return embeddings

    def _decode(self, point: tuple[float, float]) -> NDArray[np.bool_]:
        """SAM's four masks [4,H,W] of a point (x, y) in pixels of the picture."""
        if self._embeddings is None:
            self.encode_for_sam()
        height, width = self.picture.shape[:2]
        scale = np.array(self._resized_px) / (width, height)
        feed = {
            "image_embeddings": self._embeddings,
            # With SAM's padding point, which comes with every point that has no box.
            "point_coords": np.array([[np.array(point) * scale, (0, 0)]], np.float32),
            "point_labels": np.array([[1, -1]], np.float32),
            "mask_input": np.zeros(self._mask_shape, np.float32),
            "has_mask_input": np.zeros(1, np.float32),
            "orig_im_size": np.array([height, width], np.float32),
        }
        masks = self._sessions["mask_decoder"].run(["masks", "iou_predictions"], feed)[0]
        found: NDArray[np.bool_] = masks[0] > 0
        return found


def _clip_pixels(picture: Image.Image, *, size_px: int) -> NDArray[np.float32]:
    """CLIP's preprocessing: shorter side to the size, bicubic, centre crop; float [3,S,S]."""
    scale = size_px / min(picture.size)
    width, height = (max(size_px, int(side * scale)) for side in picture.size)
    left, top = round((width - size_px) / 2), round((height - size_px) / 2)
    resized = picture.resize((width, height), Image.BICUBIC)
    cropped = resized.crop((left, top, left + size_px, top + size_px))
    normalised = (np.asarray(cropped, np.float32) / 255 - _CLIP_MEAN) / _CLIP_STD
    return normalised.transpose(2, 0, 1)


def _bounds(mask: NDArray[np.bool_]) -> tuple[float, float, float, float]:
    """The box XYXY around a mask [H,W]; of no size where it is empty."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return 0, 0, 0, 0
    return columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
