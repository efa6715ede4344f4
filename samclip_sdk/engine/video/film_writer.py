"""Writes drawn frames to a video file, by OpenCV."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np
from numpy.typing import NDArray

from samclip_sdk.engine.video.capture import opencv_reads, quiet_opencv
from samclip_sdk.errors import StorageError, one_line
from samclip_sdk.system.atomic_file import check_suffix, check_target
from samclip_sdk.system.leftovers import discard, hidden_path, sweep_once
from samclip_sdk.system.native_output import quiet_stderr

CODECS = {".mp4": ("avc1", "mp4v"), ".webm": ("VP80",)}
"""The codecs of a file's ending, the preferred one first. OpenCV's wheels write no avc1 (H.264) on
Linux and Windows."""

UNPLAYED = "mp4v"
"""MPEG-4 part 2, which browsers do not play."""

DEFAULT_FPS = 25.0
"""Frames a second, if the source does not tell."""


class FilmWriter:
    """Writes an .mp4 or .webm file; even after an error, the added frames can be played.

    It is a context manager. The video is written under a hidden name in the same folder, and
    renamed at the end. Without a frame, no file appears. A killed process leaves the hidden file,
    which cannot be played; a later writer in the same folder removes it.

    Args:
        path: ends in .mp4 or .webm. Browsers play .webm everywhere, and .mp4 only where OpenCV can
            write H.264: see `codec`.
        fps: frames a second.

    Raises:
        StorageError: the path has another ending, or the file cannot be written.

    Attributes:
        codec: the four letters of the codec, once a frame was added.
    """

    def __init__(self, path: str | os.PathLike[str], *, fps: float = DEFAULT_FPS) -> None:
        suffix = check_suffix(path, *CODECS)
        self._target, self._fps = check_target(path), fps
        if not opencv_reads(str(self._target)):
            raise StorageError(
                f"cannot write {one_line(self._target)}: OpenCV only takes names in UTF-8"
            )
        self._hidden = hidden_path(self._target, ending=suffix)
        self._codecs = CODECS[suffix]
        self.codec = ""
        self._writer: cv2.VideoWriter | None = None
        self._count = 0

    def __enter__(self) -> FilmWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def add(self, pixels: NDArray[np.uint8]) -> None:
        """Adds a frame, uint8 [H,W,3], RGB, of the same size each time.

        If the height or width is odd, the last row or column is left out: the codec needs even
        sizes.

        Raises:
            StorageError: OpenCV cannot write videos here.
        """
        height, width = (max(2, side - side % 2) for side in pixels.shape[:2])
        if self._writer is None:
            self._writer = self._open(width, height)
        self._writer.write(cv2.cvtColor(pixels[:height, :width], cv2.COLOR_RGB2BGR))
        self._count += 1

    def close(self) -> None:
        """Ends the video and moves it to its path.

        Raises:
            StorageError: not all frames could be written: the disk may be full.
        """
        if self._writer is None:
            return
        self._writer.release()
        self._writer = None
        try:
            there = _count_frames(self._hidden)
            if there < self._count:
                raise StorageError(
                    f"cannot write {one_line(self._target)}: {there} of {self._count} frames are "
                    "in it; is the disk full?"
                )
            os.replace(self._hidden, self._target)
        except OSError as error:
            raise self._unwritable(error) from error
        finally:
            discard(self._hidden)

    def _open(self, width: int, height: int) -> cv2.VideoWriter:
        sweep_once(self._target.parent)
        try:
            self._hidden.touch(exist_ok=False)
        except OSError as error:
            raise self._unwritable(error) from error
        for codec in self._codecs:
            fourcc = cv2.VideoWriter.fourcc(*codec)
            with quiet_opencv(), quiet_stderr():  # FFmpeg's notes of codecs are no logs
                writer = cv2.VideoWriter(str(self._hidden), fourcc, self._fps, (width, height))
            if writer.isOpened():
                self.codec = codec
                return writer
        discard(self._hidden)
        raise StorageError(
            f"cannot write {one_line(self._target)}: OpenCV was built without FFmpeg here; "
            "write only .json, or install opencv-python-headless"
        )

    def _unwritable(self, error: OSError) -> StorageError:
        return StorageError(f"cannot write {one_line(self._target)}: {error.strerror or error}")


def _count_frames(path: Path) -> int:
    """The number of frames in a video's table; 0 if it has none, or is no video."""
    with quiet_opencv():
        capture = cv2.VideoCapture(str(path))
        count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) if capture.isOpened() else 0
        capture.release()
    return count
