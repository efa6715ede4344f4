"""Sources of frames: a video file, a camera, a URL, a folder of images, or images one by one."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np
from PIL import Image

from samclip_sdk.engine.video.capture import Pixels, open_capture, read_frame, read_frames
from samclip_sdk.engine.video.footage import Footage, NamedImage
from samclip_sdk.engine.video.network import is_stream_url, open_stream
from samclip_sdk.errors import ImageError, VideoCutShortWarning, one_line
from samclip_sdk.image.loading import IMAGE_ENDINGS, ImageSource, own_image
from samclip_sdk.system.user_warning import warn_user

VideoSource: TypeAlias = "str | os.PathLike[str] | int | Iterable[ImageSource] | Footage"
"""A video file, a folder of images, a camera's number, the URL of a network camera or of a video
(rtsp, rtsps, rtmp, http, https), an iterable of images, or the `Footage` that `open_footage` made
from one of them."""

COUNT_TOLERANCE = 0.01
"""The tolerated share of missing frames, beside two frames: some video files compute their number
of frames from their length."""

_LISTS = (b"ffconcat", b"#EXTM3U")
"""The first bytes of text files that list videos: FFmpeg would open the videos in the list."""

_MAX_CAMERAS = 1 << 31  # A C++ int holds a camera's number.


def open_footage(source: VideoSource) -> Footage:
    """Opens a source of frames, and reads the first frame of a video file or camera.

    Args:
        source: see `VideoSource`.

    Raises:
        ImageError: no such file or camera, a video file or URL that cannot be opened or has no
            frame, a folder without images, or a value of another type.
    """
    if isinstance(source, Footage):
        return source
    if isinstance(source, str) and is_stream_url(source):
        return open_stream(source)
    if isinstance(source, (str, os.PathLike)):
        path = Path(source)
        name = one_line(path)
        try:
            if path.is_dir():
                return _open_folder(path, name=name)
            there = path.exists()
        except (OSError, ValueError):  # ValueError: NUL in the name, before Python 3.14
            there = False
        if not there:
            raise ImageError(f"{name}: no such file")
        return _open_film(path, name=name)
    if isinstance(source, (int, np.integer)) and not isinstance(source, bool):
        return _open_camera(int(source))
    is_image = isinstance(source, (bytes, bytearray, np.ndarray, Image.Image))
    if is_image or hasattr(source, "read") or not isinstance(source, Iterable):
        raise ImageError(
            "a video is a file's path, a folder of images, a camera's number, a URL or an "
            f"iterator of images, not a {type(source).__name__}"
        )
    count = len(source) if isinstance(source, Sequence) else None
    lasting = source if isinstance(source, (list, tuple)) else map(own_image, source)
    images = (NamedImage(str(index), image) for index, image in enumerate(lasting))
    return Footage("the video", images, count=count)


def _open_folder(folder: Path, *, name: str) -> Footage:
    """Opens a folder's images, without subfolders, sorted by name: frame 10 follows frame 9."""
    try:
        found = [
            path
            for path in folder.iterdir()
            if path.suffix.lower() in IMAGE_ENDINGS and not path.name.startswith(".")
        ]
    except OSError as error:
        raise ImageError(f"{name} cannot be read: {error.strerror}") from error
    if not found:
        raise ImageError(f"{name} holds no image files, such as .jpg or .png")
    found.sort(key=lambda path: _natural(path.name))
    return Footage(name, (NamedImage(path.name, path) for path in found), count=len(found))


def _natural(name: str) -> list[tuple[int, str]]:
    """The sort key of a name: by the numbers in it, then by its letters."""
    parts = re.findall(r"[0-9]+|[^0-9]+", name)
    return [*((int(each) if each.isdecimal() else -1, each) for each in parts), (-2, name)]


def _open_film(path: Path, *, name: str) -> Footage:
    _check_film(path, name=name)
    capture = open_capture(str(path))
    first = read_frame(capture)
    if first is None:
        opened = capture.isOpened()
        capture.release()
        if opened:
            raise ImageError(f"{name} has no frame that can be read")
        reason = "no video, cut off, or of a format that OpenCV cannot read here"
        if path.stat().st_size == 0:
            reason = "empty: 0 bytes"
        raise ImageError(f"{name} is {reason}")
    count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    fps = capture.get(cv2.CAP_PROP_FPS)
    return Footage(
        name,
        _film_frames(capture, first, name=name, count=count),
        count=count if count > 0 else None,
        fps=fps if 0 < fps < float("inf") else None,
    )


def _check_film(path: Path, *, name: str) -> None:
    """Refuses a file that would block without end, or would make FFmpeg open other files.

    Raises:
        ImageError: the reason.
    """
    kind = path.stat().st_mode
    if stat.S_ISFIFO(kind):
        raise ImageError(f"{name} is a pipe: a film is a file")
    if re.search("%[0-9]*d", str(path)):
        raise ImageError(
            f"{name} has a % in its name, which OpenCV takes for a sequence of images: rename it"
        )
    if stat.S_ISREG(kind):
        with suppress(OSError), path.open("rb") as file:  # OpenCV reports an unreadable file.
            if file.read(8).startswith(_LISTS):
                raise ImageError(f"{name} is a list of other files: give a film itself")


def _film_frames(
    capture: cv2.VideoCapture, first: Pixels, *, name: str, count: int
) -> Iterator[NamedImage]:
    taken = yield from read_frames(capture, first)
    if taken + 2 < count * (1 - COUNT_TOLERANCE):
        warn_user(
            f"{name} is cut off: it has {count} frames by its header, and {taken} could be read",
            VideoCutShortWarning,
        )


def _open_camera(number: int) -> Footage:
    if number < 0:  # OpenCV would end the process.
        raise ImageError(f"{number} is not a camera's number: cameras are counted from 0")
    if number >= _MAX_CAMERAS:
        raise ImageError(f"{number} is not a camera's number: the last one is {_MAX_CAMERAS - 1}")
    capture = open_capture(number)
    capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # Only the newest frame; some drivers ignore this.
    first = read_frame(capture)
    if first is None:
        capture.release()
        raise ImageError(
            f"camera {number} is missing, sends no images, or is in use by another program"
        )
    fps = capture.get(cv2.CAP_PROP_FPS)
    return Footage(
        f"camera {number}",
        _camera_frames(capture, first, number=number),
        fps=fps if 0 < fps < float("inf") else None,
        live=True,
    )


def _camera_frames(
    capture: cv2.VideoCapture, first: Pixels, *, number: int
) -> Iterator[NamedImage]:
    taken = yield from read_frames(capture, first)
    raise ImageError(f"camera {number} stopped sending images after {taken} of them")
