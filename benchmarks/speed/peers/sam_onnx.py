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

from benchmarks.speed.peers.architecture import SAM_VIT_B, SamArchitecture
from benchmarks.speed.peers.forced import (
    CLASSES,
    LABELS,
    POINT,
    RANDOM_WEIGHTS,
    crop_box,
    kept_proposals,
    paint,
    picture,
    rank,
    require,
    unit_embeddings,
    versions,
)
from benchmarks.speed.peers.onnx_cache import exported
from benchmarks.speed.subject import Opened

_CLIP_MEAN = np.array([0.48145466, 0.4578275, 0.40821073], np.float32)
_CLIP_STD = np.array([0.26862954, 0.26130258, 0.27577711], np.float32)
_MASKS_A_POINT = 3


@dataclass(frozen=True)
class SamOnnx:
    """SAM's plain export and CLIP's, with onnxruntime's own session options.

    Attributes:
        clip: an open_clip architecture, or the path of a JSON file of one.
        arena: onnxruntime's memory arena, which is on by default.
        proposals: masks that everything-mode is made to find, each seen by CLIP.
        points_per_side: of everything-mode's grid.
        threads: of onnxruntime; 0 leaves its default.
        sam: the sizes of SAM.
        cache: the folder that holds exports; the user's cache by default.
    """

    clip: str = "ViT-B-16"
    arena: bool = True
    proposals: int = 10
    points_per_side: int = 8
    threads: int = 0
    sam: SamArchitecture = SAM_VIT_B
    cache: str | Path | None = None

    @property
    def key(self) -> str:
        """Names CLIP, the arena where it is off, and the proposals."""
        arena = "" if self.arena else "-no-arena"
        return f"sam-onnx+clip-onnx-{self.clip.lower()}{arena}-k{self.proposals}"

    def open(self) -> Opened:
        """Opens the three graphs, after exporting them where the cache has none.

        Raises:
            ModuleNotFoundError: a package is missing.
            RuntimeError: the export failed.
            ValueError: more proposals than the grid has masks.
        """
        require("onnxruntime", package="onnxruntime")
        require("segment_anything", package="segment-anything")
        require("open_clip", package="open_clip_torch")
        paths = exported(self.sam, self.clip, cache=Path(self.cache) if self.cache else None)
        sessions = {name: self._session(path) for name, path in paths.items()}
        models = PlainGraphs(
            sessions,
            size_px=self.sam.image_size_px,
            picture=picture(),
            proposals=self.proposals,
            points_per_side=self.points_per_side,
        )
        return Opened(
            name=f"{self.sam.name} + OpenCLIP {self.clip}, plain ONNX",
            package_versions=versions("onnxruntime", "segment-anything", "open_clip_torch"),
            precision="fp32",
            notes=self._notes(),
            artifact_bytes=sum(path.stat().st_size for path in paths.values()),
            workloads={
                "encode": models.encode_for_sam,
                "classify": models.classify,
                "point": models.point,
                "text3": models.text_to_mask,
            },
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

    def _notes(self) -> str:
        points = self.points_per_side**2
        return "; ".join(
            [
                RANDOM_WEIGHTS,
                "onnxruntime's default session options" if self.arena else "memory arena off",
                "text is not exported: its embeddings are cached",
                "encode is SAM's image encoder, classify runs CLIP's",
                f"text3: everything-mode of {points} points, one decoder run each, as the export "
                f"takes one prompt, on SAM's encoding; {self.proposals} masks forced, then "
                f"{self.proposals} crops through CLIP in one batch",
                f"three_ways is these in turn; CLIP sees {self.proposals + 1} pictures",
            ]
        )


class PlainGraphs:
    """The workloads of the three graphs on one picture.

    Args:
        sessions: by the names of `onnx_cache.GRAPHS`.
        size_px: side of the square that SAM sees.
        picture: uint8 RGB [H,W,3].
        proposals: how many of everything-mode's masks are kept, by force.
        points_per_side: of everything-mode's grid.

    Raises:
        ValueError: the grid has fewer masks than `proposals`.
    """

    def __init__(
        self,
        sessions: dict[str, Any],
        *,
        size_px: int,
        picture: NDArray[np.uint8],
        proposals: int,
        points_per_side: int,
    ) -> None:
        self._sessions = sessions
        self._size_px = size_px
        self._picture = picture
        self._embeddings: NDArray[np.float32] | None = None
        clip = sessions["clip_image_encoder"]
        self._clip_px: int = clip.get_inputs()[0].shape[-1]
        width: int = clip.get_outputs()[0].shape[-1]
        self._labels = unit_embeddings(LABELS, width=width)
        self._classes = unit_embeddings(CLASSES, width=width)
        height, breadth = picture.shape[:2]
        centres = (np.arange(points_per_side) + 0.5) / points_per_side
        self._grid = [(x * breadth, y * height) for y in centres for x in centres]
        self._kept = kept_proposals(proposals, of=_MASKS_A_POINT * len(self._grid))

    def encode_for_sam(self) -> None:
        """Resizes the picture to SAM's size and encodes it; the graph normalises and pads."""
        resized = Image.fromarray(self._picture).resize(self._resized_px(), Image.BILINEAR)
        feed = {"input_image": np.asarray(resized, np.float32)}
        self._embeddings = self._sessions["image_encoder"].run(["image_embeddings"], feed)[0]

    def classify(self) -> NDArray[np.float32]:
        """Probabilities of 1,000 labels, CLIP's image encoder included."""
        return rank(self._embed([Image.fromarray(self._picture)])[0], self._labels)

    def point(self) -> NDArray[np.bool_]:
        """The mask of one point, [1,H,W], of the picture that SAM has encoded."""
        return self._decode(POINT)[:1]

    def text_to_mask(self) -> NDArray[np.bool_]:
        """Masks of three classes, [3,H,W], of the picture that SAM has encoded."""
        masks = self._everything()
        whole = Image.fromarray(self._picture)
        embeddings = self._embed([whole.crop(crop_box(_bounds(mask))) for mask in masks])
        return paint(masks, embeddings, self._classes)

    def _everything(self) -> NDArray[np.bool_]:
        """The kept masks [K,H,W] of the grid's points, which are all decoded."""
        kept = []
        for index, point in enumerate(self._grid):
            masks = self._decode(point)[1:]
            first = index * _MASKS_A_POINT
            kept += [masks[at - first] for at in self._kept if first <= at < first + len(masks)]
        return np.stack(kept)

    def _decode(self, point: tuple[float, float]) -> NDArray[np.bool_]:
        """SAM's four masks [4,H,W] of a point (x, y) in pixels of the picture."""
        if self._embeddings is None:
            self.encode_for_sam()
        height, width = self._picture.shape[:2]
        scale = np.array(self._resized_px()) / (width, height)
        side = self._size_px // 4
        masks = self._sessions["mask_decoder"].run(
            ["masks", "iou_predictions"],
            {
                "image_embeddings": self._embeddings,
                # With SAM's padding point, which comes with every point that has no box.
                "point_coords": np.array([[np.array(point) * scale, (0, 0)]], np.float32),
                "point_labels": np.array([[1, -1]], np.float32),
                "mask_input": np.zeros((1, 1, side, side), np.float32),
                "has_mask_input": np.zeros(1, np.float32),
                "orig_im_size": np.array([height, width], np.float32),
            },
        )[0]
        found: NDArray[np.bool_] = masks[0] > 0
        return found

    def _resized_px(self) -> tuple[int, int]:
        """Width and height of the picture with its longer side as SAM sees it."""
        height, width = self._picture.shape[:2]
        scale = self._size_px / max(height, width)
        return int(width * scale + 0.5), int(height * scale + 0.5)

    def _embed(self, pictures: Sequence[Image.Image]) -> NDArray[np.float32]:
        """Unit embeddings [K,E] of pictures, in one batch."""
        pixels = np.stack([_clip_pixels(picture, size_px=self._clip_px) for picture in pictures])
        embeddings: NDArray[np.float32] = self._sessions["clip_image_encoder"].run(
            ["embeddings"], {"pixels": pixels}
        )[0]
        return embeddings


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
