"""A SAM whose image encoder and mask decoder were exported plainly, see `plain_onnx`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.speed.peers.exports import open_net
from benchmarks.speed.subject import PICTURE_PX


class PlainSam:
    """Encodes a picture, uint8 RGB of `PICTURE_PX`, and decodes points in it.

    Args:
        folder: with image_encoder.onnx and mask_decoder.onnx.
        side_px: of the square that the encoder sees.
        runtime: "onnx" or "openvino".
        threads: that it may use; 0 leaves it to the runtime.
        arena: see `open_net`.
    """

    def __init__(
        self, folder: Path, *, side_px: int, runtime: str, threads: int, arena: bool = True
    ) -> None:
        self._encode, self._decode = (
            open_net(folder / f"{name}.onnx", runtime=runtime, threads=threads, arena=arena)
            for name in ("image_encoder", "mask_decoder")
        )
        width, height = PICTURE_PX
        scale = side_px / max(height, width)
        self._resized_px = int(width * scale + 0.5), int(height * scale + 0.5)
        self._no_mask = np.zeros((1, 1, side_px // 4, side_px // 4), np.float32)

    def encode(self, picture: NDArray[np.uint8]) -> None:
        """Resizes a picture and runs the encoder, whose graph normalises and pads."""
        resized = Image.fromarray(picture).resize(self._resized_px, Image.BILINEAR)
        (self._embeddings,) = self._encode.run({"input_image": np.asarray(resized, np.float32)})

    def decode(self, point: tuple[float, float]) -> NDArray[np.bool_]:
        """SAM's four masks [4,H,W] of a point (x, y) in pixels of the picture."""
        place = np.array(point) * self._resized_px / PICTURE_PX
        feed = {
            "image_embeddings": self._embeddings,
            # With SAM's padding point, which comes with every point that has no box.
            "point_coords": np.array([[place, (0, 0)]], np.float32),
            "point_labels": np.array([[1, -1]], np.float32),
            "mask_input": self._no_mask,
            "has_mask_input": np.zeros(1, np.float32),
            "orig_im_size": np.array(PICTURE_PX[::-1], np.float32),
        }
        return self._decode.run(feed)[0][0] > 0
