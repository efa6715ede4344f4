"""Videos behind a URL: a network camera, which is read as it comes, or a file on a web server."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import cv2

from samclip_sdk.engine.video.capture import Pixels, open_capture, read_frame, read_frames
from samclip_sdk.engine.video.footage import Footage, NamedImage
from samclip_sdk.errors import ImageError, VideoReconnectedWarning, one_line
from samclip_sdk.system.user_warning import warn_user

_URL = re.compile(r"(rtsps?|rtmps?|https?)://", re.IGNORECASE)

_WAIT_MS = 10_000
_OPTIONS = (cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, _WAIT_MS, cv2.CAP_PROP_READ_TIMEOUT_MSEC, _WAIT_MS)

TRIES = 6
"""How often a lost camera is opened again before it counts as gone."""

_FIRST_PAUSE_S = 0.5  # doubled with every try: 15 s in all, beside the time that opening takes


def is_stream_url(source: str) -> bool:
    """Whether a source of frames is a URL that OpenCV's FFmpeg opens."""
    return _URL.match(source) is not None


def open_stream(url: str) -> Footage:
    """Opens the video behind a URL, and reads its first frame.

    A video that tells how many frames it has is a file, and is read to its end. Any other one is a
    camera: its newest frame is taken, however long the last one took, and a lost connection is
    opened again.

    Raises:
        ImageError: nothing answers, or what answers is no video.
    """
    name = _without_password(url)
    capture, first = _open(url)
    if first is None:
        raise ImageError(f"{name} sends no image: nothing answers there, or it is not a video")
    count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    fps = capture.get(cv2.CAP_PROP_FPS)
    rate = fps if 0 < fps < float("inf") else None
    if count > 0:
        return Footage(name, read_frames(capture, first), count=count, fps=rate)
    frames = _camera_frames(url, capture, first, name=name)
    return Footage(name, frames, fps=rate, live=True)


def _open(url: str) -> tuple[cv2.VideoCapture, Pixels | None]:
    capture = open_capture(url, options=_OPTIONS)
    first = read_frame(capture)
    if first is None:
        capture.release()
    return capture, first


def _without_password(url: str) -> str:
    """The URL as messages show it."""
    parts = urlsplit(url)
    hidden = f"{parts.username}:***@" if parts.password else ""
    host = parts.netloc.rpartition("@")[2] if hidden else parts.netloc
    return one_line(parts._replace(netloc=f"{hidden}{host}").geturl())


def _camera_frames(
    url: str, capture: cv2.VideoCapture, first: Pixels, *, name: str
) -> Iterator[NamedImage]:
    """The newest frame at each time; after a lost connection, those of the next one.

    Raises:
        ImageError: the camera could not be opened again.
    """
    taken = 0
    while True:
        newest = _NewestFrame(capture, first)
        try:
            while (pixels := newest.take()) is not None:
                yield NamedImage(str(taken), pixels)
                taken += 1
        finally:
            newest.close()
        capture, first = _open_again(url, name=name, taken=taken)
        warn_user(
            f"{name} was lost after {taken} frames, and opened again",
            VideoReconnectedWarning,
        )


def _open_again(url: str, *, name: str, taken: int) -> tuple[cv2.VideoCapture, Pixels]:
    for attempt in range(TRIES):
        time.sleep(_FIRST_PAUSE_S * 2 ** (attempt - 1) if attempt else 0)
        capture, first = _open(url)
        if first is not None:
            return capture, first
    raise ImageError(
        f"{name} stopped sending images after {taken} of them, and {TRIES} attempts to open it "
        "again failed"
    )


class _NewestFrame:
    """Reads a camera in a thread of its own, and keeps only the frame that came last.

    FFmpeg keeps all frames that are not read in time: a slow reader would fall behind for ever.

    Args:
        capture: the camera, which `close` releases.
        first: the frame that was read already.
    """

    def __init__(self, capture: cv2.VideoCapture, first: Pixels) -> None:
        self._capture, self._frame = capture, first
        self._fresh, self._ended, self._closed = True, False, False
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, name="samclip-camera", daemon=True)
        self._reader.start()

    def take(self) -> Pixels | None:
        """Waits for a frame that was not taken yet; None once the camera gives no more."""
        with self._changed:
            self._changed.wait_for(lambda: self._fresh or self._ended)
            if not self._fresh:
                return None
            self._fresh = False
            return self._frame

    def close(self) -> None:
        """Ends the thread, and closes the camera."""
        self._closed = True
        self._reader.join()
        self._capture.release()

    def _read(self) -> None:
        while not self._closed:
            pixels = read_frame(self._capture)
            with self._changed:
                if pixels is None:
                    self._ended = True
                else:
                    self._frame, self._fresh = pixels, True
                self._changed.notify()
            if pixels is None:
                return
