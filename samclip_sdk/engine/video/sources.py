"""Where frames come from: a film, a camera, a folder of pictures, or an iterator of pictures."""

from __future__ import annotations

import os
import re
import stat
import threading
import warnings
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, cast

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from samclip_sdk.errors import ImageError, VideoCutShortWarning, one_line
from samclip_sdk.picture.image import PICTURE_ENDINGS, ImageSource, own_picture

VideoSource: TypeAlias = "str | os.PathLike[str] | int | Iterable[ImageSource] | Footage"
"""A film's file, a folder of pictures, a camera's number, pictures one after the other, or what
`open_footage` made of one of them."""

Pixels: TypeAlias = NDArray[np.uint8]

COUNT_TOLERANCE = 0.01
"""Films tell how many frames they have, but some of them by their length: it may be wrong by so
much, and by two frames."""


_SILENT = 0  # OpenCV's level of logging
_FFMPEG_LEVEL = "OPENCV_FFMPEG_LOGLEVEL"

_LISTS = (b"ffconcat", b"#EXTM3U")
"""What text files begin with that FFmpeg would take for the films of which they have the names."""

_MOST_CAMERAS = 1 << 31  # An int of C++ holds their numbers.


@dataclass(frozen=True)
class NamedPicture:
    """A frame before it is read.

    Attributes:
        name: what it is called: a picture's file name, or the frame's number from 0.
        picture: what its pixels are read from.
    """

    name: str
    picture: ImageSource


@dataclass(frozen=True)
class Footage:
    """Frames that are taken one after the other, once.

    Attributes:
        name: of the source, for messages.
        frames: taken as they are asked for; a film or camera is closed with this generator.
        count: how many there are; None if nobody knows.
        fps: frames a second; None if nobody knows.
        live: a camera: what is not taken in time is gone, and nothing is to be taken ahead.
    """

    name: str
    frames: Iterator[NamedPicture]
    count: int | None = None
    fps: float | None = None
    live: bool = False


def open_footage(source: VideoSource) -> Footage:
    """Opens what frames are taken from; a film's or camera's first frame is read for certain.

    Args:
        source: see `VideoSource`.

    Raises:
        ImageError: no such file or camera, a film that cannot be opened or has no frame, a folder
            without pictures, or something that is none of them.
    """
    if isinstance(source, Footage):
        return source
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
    is_picture = isinstance(source, (bytes, bytearray, np.ndarray, Image.Image))
    if is_picture or hasattr(source, "read") or not isinstance(source, Iterable):
        raise ImageError(
            "a video is a file's path, a folder of pictures, a camera's number or an iterator of "
            f"pictures, not a {type(source).__name__}"
        )
    count = len(source) if isinstance(source, Sequence) else None
    lasting = source if isinstance(source, (list, tuple)) else map(own_picture, source)
    pictures = (NamedPicture(str(index), picture) for index, picture in enumerate(lasting))
    return Footage("the video", pictures, count=count)


def _open_folder(folder: Path, *, name: str) -> Footage:
    """The pictures of a folder, not of those below it, by name: frame 10 comes after frame 9."""
    try:
        found = [
            path
            for path in folder.iterdir()
            if path.suffix.lower() in PICTURE_ENDINGS and not path.name.startswith(".")
        ]
    except OSError as error:
        raise ImageError(f"{name} cannot be read: {error.strerror}") from error
    if not found:
        raise ImageError(
            f"{name} holds no pictures: nothing there is called .jpg, .png or the like"
        )
    found.sort(key=lambda path: _natural(path.name))
    return Footage(name, (NamedPicture(path.name, path) for path in found), count=len(found))


def _natural(name: str) -> list[tuple[int, str]]:
    """What sorts names by the numbers in them; of equal ones, by their letters."""
    parts = re.findall(r"[0-9]+|[^0-9]+", name)
    return [*((int(each) if each.isdecimal() else -1, each) for each in parts), (-2, name)]


def _open_film(path: Path, *, name: str) -> Footage:
    _check_film(path, name=name)
    capture = _capture(str(path))
    first = _read(capture)
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
    """Refuses what would be waited for without end, or would show other files than itself.

    Raises:
        ImageError: the reason.
    """
    kind = path.stat().st_mode
    if stat.S_ISFIFO(kind):
        raise ImageError(f"{name} is a pipe: a film is a file")
    if re.search("%[0-9]*d", str(path)):
        raise ImageError(f"{name} stands for many pictures, by the % in it: rename it")
    if stat.S_ISREG(kind):
        with suppress(OSError), path.open("rb") as file:  # OpenCV tells what cannot be opened.
            if file.read(8).startswith(_LISTS):
                raise ImageError(f"{name} is a list of other files: give a film itself")


def _film_frames(
    capture: cv2.VideoCapture, first: Pixels, *, name: str, count: int
) -> Iterator[NamedPicture]:
    taken = yield from _frames(capture, first)
    if taken + 2 < count * (1 - COUNT_TOLERANCE):
        warnings.warn(
            f"{name} is cut off: it has {count} frames by its header, and {taken} could be read",
            VideoCutShortWarning,
            stacklevel=2,
        )


def _open_camera(number: int) -> Footage:
    if number < 0:  # OpenCV would end the process.
        raise ImageError(f"camera {number} cannot be: cameras are counted from 0")
    if number >= _MOST_CAMERAS:
        raise ImageError(f"no camera has a number of {_MOST_CAMERAS} or more")
    capture = _capture(number)
    capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # The newest frame counts, where drivers know this.
    first = _read(capture)
    if first is None:
        capture.release()
        raise ImageError(
            f"camera {number} is not there, gives no picture, or is used by another program"
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
) -> Iterator[NamedPicture]:
    taken = yield from _frames(capture, first)
    raise ImageError(f"camera {number} gives no pictures any more, after {taken} of them")


def _frames(capture: cv2.VideoCapture, first: Pixels) -> Generator[NamedPicture, None, int]:
    """The first frame and all after it; returns how many they were, and closes the source."""
    pixels: Pixels | None = first
    taken = 0
    try:
        while pixels is not None:
            yield NamedPicture(str(taken), pixels)
            taken += 1
            pixels = _read(capture)
    finally:
        capture.release()
    return taken


def _capture(source: str | int) -> cv2.VideoCapture:
    with quiet_opencv():
        return cv2.VideoCapture(source)


def _read(capture: cv2.VideoCapture) -> Pixels | None:
    """The next frame, uint8 [H,W,3], RGB, upright as the film says; None if there is none."""
    with quiet_opencv():
        there, pixels = capture.read()
    if not there:
        return None
    return cast(Pixels, cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB))


class _QuietOpenCV:
    """What OpenCV and FFmpeg say, which the whole process shares, while any thread wants silence.

    FFmpeg looks for its level once: where OpenCV first opens or writes a film. If the program did
    that before, FFmpeg's remarks are as the program has them.
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
    """Keeps OpenCV's remarks about a file or camera off standard error; this package says it.

    Any number of threads may be inside; the last one to leave sets the level back.
    """
    _QUIET.enter()
    try:
        yield
    finally:
        _QUIET.leave()


def _opencv_logging() -> Any:
    return getattr(cv2.utils, "logging", cv2)  # old versions have it at the top
