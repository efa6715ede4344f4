"""Small films for the tests."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from samclip_sdk.engine.video.capture import quiet_opencv
from tests.fake_source import sample_image


def moving(count: int) -> list[np.ndarray]:
    """Frames [50,100,3] whose image goes a pixel to the left each time."""
    wide = cv2.GaussianBlur(
        np.random.default_rng(1).integers(0, 255, (50, 100 + count, 3), dtype=np.uint8), (9, 9), 0
    )
    return [np.ascontiguousarray(wide[:, index : index + 100]) for index in range(count)]


def write_film(path: Path, count: int, *, codec: str = "mp4v", fps: float = 12.5) -> Path:
    with quiet_opencv():  # FFmpeg looks for its level when the first film is written
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), fps, (100, 50))
    assert writer.isOpened()
    for pixels in moving(count):
        writer.write(pixels)
    writer.release()
    return path


def write_folder(path: Path, count: int) -> Path:
    path.mkdir()
    for index in range(count):
        assert cv2.imwrite(str(path / f"frame {index}.png"), sample_image())
    return path
