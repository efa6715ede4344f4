"""SAM and CLIP, both exported plainly to ONNX, on onnxruntime; torch is not imported."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import numpy as np
import platformdirs
from numpy.typing import NDArray
from PIL import Image, ImageOps

from benchmarks.speed.peers.forced import MASKS_A_POINT, POINT, SEED, TwoModels
from benchmarks.speed.subject import PICTURE_PX

GRAPHS = ("image_encoder", "mask_decoder", "clip_image_encoder")
OPSET = 18
_ROOT = Path(__file__).parents[3]
_CLIP_MEAN = np.array([0.48145466, 0.4578275, 0.40821073], np.float32)
_CLIP_STD = np.array([0.26862954, 0.26130258, 0.27577711], np.float32)


@dataclass
class SamOnnx(TwoModels):
    """SAM's plain export and CLIP's, with onnxruntime's own session options.

    `arena` is onnxruntime's memory arena, which is on by default; `cache` is the folder that holds
    exports, the user's cache by default.
    """

    engine = "plain ONNX"
    packages = ("onnxruntime", "segment-anything", "open_clip_torch")

    arena: bool = True
    cache: str | Path = platformdirs.user_cache_path("samclip-sdk") / "peers"

    @property
    def key(self) -> str:
        """Names CLIP, the arena where it is off, and the proposals."""
        arena = "" if self.arena else "-no-arena"
        return f"sam-onnx+clip-onnx-{self.clip.lower()}{arena}-k{self.proposals}"

    def _load(self) -> tuple[str, int, int]:
        # As the SDK does, which this process must not import.
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
        import onnxruntime

        paths = exported(self.sam, self.clip, cache=Path(self.cache))
        options, on_cpu = onnxruntime.SessionOptions(), ["CPUExecutionProvider"]
        options.enable_cpu_mem_arena = self.arena
        options.intra_op_num_threads = self.threads
        self._sessions = {
            name: onnxruntime.InferenceSession(path, options, providers=on_cpu)
            for name, path in paths.items()
        }
        clip = self._sessions["clip_image_encoder"]
        self._clip_px: int = clip.get_inputs()[0].shape[-1]
        shapes = {each.name: each.shape for each in self._sessions["mask_decoder"].get_inputs()}
        self._mask_shape: list[int] = shapes["mask_input"]
        width, height = PICTURE_PX
        centres = (np.arange(self.points_per_side) + 0.5) / self.points_per_side
        self._grid = [(x * width, y * height) for y in centres for x in centres]
        scale = 4 * self._mask_shape[-1] / max(height, width)
        self._resized_px = int(width * scale + 0.5), int(height * scale + 0.5)
        how = "onnxruntime's default session options" if self.arena else "memory arena off"
        notes = (
            f"{how}; text is not exported: its embeddings are cached; one decoder run a point, as "
            "the export takes one prompt"
        )
        artifact_bytes = sum(path.stat().st_size for path in paths.values())
        return notes, artifact_bytes, clip.get_outputs()[0].shape[-1]

    def _encode_for_sam(self) -> None:
        # The graph normalises and pads.
        resized = Image.fromarray(self._picture).resize(self._resized_px, Image.BILINEAR)
        feed = {"input_image": np.asarray(resized, np.float32)}
        self._embeddings = self._sessions["image_encoder"].run(["image_embeddings"], feed)[0]

    def _point(self) -> NDArray[np.bool_]:
        return self._decode(POINT)[:1]

    def _propose(self) -> tuple[NDArray[np.bool_], list[tuple[float, float, float, float]]]:
        kept = []  # every point of the grid is decoded, whatever is kept
        for index, point in enumerate(self._grid):
            masks, first = self._decode(point)[1:], index * MASKS_A_POINT
            kept += [masks[at - first] for at in self._kept if first <= at < first + len(masks)]
        return np.stack(kept), [Image.fromarray(mask).getbbox() or (0, 0, 0, 0) for mask in kept]

    def _embed(self, pictures: Sequence[Image.Image]) -> NDArray[np.float32]:
        pixels = np.stack([_clip_pixels(each, size_px=self._clip_px) for each in pictures])
        found = self._sessions["clip_image_encoder"].run(["embeddings"], {"pixels": pixels})[0]
        return found / np.linalg.norm(found, axis=1, keepdims=True)

    def _decode(self, point: tuple[float, float]) -> NDArray[np.bool_]:
        """SAM's four masks [4,H,W] of a point (x, y) in pixels of the picture."""
        place = np.array(point) * self._resized_px / PICTURE_PX
        feed = {
            "image_embeddings": self._embeddings,
            # With SAM's padding point, which comes with every point that has no box.
            "point_coords": np.array([[place, (0, 0)]], np.float32),
            "point_labels": np.array([[1, -1]], np.float32),
            "mask_input": np.zeros(self._mask_shape, np.float32),
            "has_mask_input": np.zeros(1, np.float32),
            "orig_im_size": np.array(PICTURE_PX[::-1], np.float32),
        }
        return self._sessions["mask_decoder"].run(["masks", "iou_predictions"], feed)[0][0] > 0


def exported(sam: str, clip: str, *, cache: Path) -> dict[str, Path]:
    """The three graphs by name, exported first unless the cache has them.

    The export is made by another process, since it raises the peak memory that is measured.
    """
    folder = export_folder(sam, clip, cache=cache)
    if not folder.exists():
        command = [sys.executable, "-m", "benchmarks.speed.peers.plain_onnx", sam, clip, folder]
        done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"the plain ONNX export failed:\n{done.stderr[-2000:]}")
    return {name: folder / f"{name}.onnx" for name in GRAPHS}


def export_folder(sam: str, clip: str, *, cache: Path) -> Path:
    """Where the export of these and of the installed packages is, or will be."""
    versions = map(metadata.version, ("segment-anything", "open_clip_torch", "torch"))
    return cache.absolute() / "-".join((sam, clip, f"seed{SEED}", f"opset{OPSET}", *versions))


def _clip_pixels(picture: Image.Image, *, size_px: int) -> NDArray[np.float32]:
    """CLIP's preprocessing: the middle square, resized bicubic and normalised; float [3,S,S]."""
    square = ImageOps.fit(picture, (size_px, size_px), method=Image.BICUBIC)
    normalised = (np.asarray(square, np.float32) / 255 - _CLIP_MEAN) / _CLIP_STD
    return normalised.transpose(2, 0, 1)
