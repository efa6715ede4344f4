"""OpenCV's readers of videos: opened and read without a word on standard error."""

from __future__ import annotations

import os
import threading
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from samclip_sdk.engine.video.footage import NamedImage
from samclip_sdk.errors import ImageError, one_line

Pixels: TypeAlias = NDArray[np.uint8]

_SILENT = 0  # OpenCV's level of logging
_FFMPEG_LEVEL = "OPENCV_FFMPEG_LOGLEVEL"


def open_capture(source: str | int, *, options: Sequence[int] = ()) -> cv2.VideoCapture:
    """Opens a file, a URL or a camera; what cannot be opened has no frame.

    Args:
        source: a path, a URL, or a camera's number.
        options: of FFmpeg: pairs of OpenCV's properties and their values.

    Raises:
        ImageError: OpenCV cannot read such a name.
    """
    if isinstance(source, str) and not opencv_reads(source):
        raise ImageError(f"{one_line(source)}: OpenCV only reads names in UTF-8: rename it")
    with quiet_opencv():
        if options:
            return cv2.VideoCapture(str(source), cv2.CAP_FFMPEG, [*options])
        return cv2.VideoCapture(source)


def opencv_reads(name: str) -> bool:
    """Whether a name is UTF-8; with another one OpenCV ends the process."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def read_frame(capture: cv2.VideoCapture) -> Pixels | None:
    """The next frame, uint8 [H,W,3], RGB, turned by the file's metadata; None if there is none."""
    with quiet_opencv():
        there, pixels = capture.read()
    if not there:
        return None
    return cast(Pixels, cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB))


def read_frames(capture: cv2.VideoCapture, first: Pixels) -> Generator[NamedImage, None, int]:
    """Yields the first frame and all later ones, closes the source, and returns their number."""
    pixels: Pixels | None = first
    taken = 0
    try:
        while pixels is not None:
            yield NamedImage(str(taken), pixels)
            taken += 1
            pixels = read_frame(capture)
    finally:
        capture.release()
    return taken


class _QuietOpenCV:
    """Silences the logs of OpenCV and FFmpeg for the whole process, while any thread wants it.

    FFmpeg reads its log level once: when OpenCV first opens or writes a video. If the program did
    that earlier, FFmpeg keeps the program's level.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wanted_by = 0
        self._before = _SILENT
        self._sets_ffmpeg = False

    def enter(self) -> None:
        with self._lock:
            if not self._wanted_by:
                self._before = _opencv_logging().setLogLevel(_SILENT)
                self._sets_ffmpeg = _FFMPEG_LEVEL not in os.environ
                os.environ.setdefault(_FFMPEG_LEVEL, "-8")
            self._wanted_by += 1

    def leave(self) -> None:
        with self._lock:
            self._wanted_by -= 1
            if not self._wanted_by:
                _opencv_logging().setLogLevel(self._before)
                if self._sets_ffmpeg:
                    os.environ.pop(_FFMPEG_LEVEL, None)


_QUIET = _QuietOpenCV()


@contextmanager
def quiet_opencv() -> Iterator[None]:
    """Keeps OpenCV's logs off standard error; this package raises its own errors.

    Any number of threads may be inside; the last one to leave restores the level.
    """
    _QUIET.enter()
    try:
        yield
    finally:
        _QUIET.leave()


def _opencv_logging() -> Any:
    return getattr(cv2.utils, "logging", cv2)  # old versions have it at the top
