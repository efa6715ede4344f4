"""Frames before they are read, of any source."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from samclip_sdk.image.loading import ImageSource


@dataclass(frozen=True)
class NamedImage:
    """A frame before it is read.

    Attributes:
        name: an image's file name, or the frame's number from 0.
        image: the source of its pixels.
    """

    name: str
    image: ImageSource


@dataclass(frozen=True)
class Footage:
    """Frames that can be read once, one after the other.

    Attributes:
        name: the source's name, for messages.
        frames: reads each frame when it is asked for; closing it closes the video file or camera.
        count: the number of frames; None if unknown.
        fps: frames a second; None if unknown.
        live: whether it is a camera, which drops frames that are not read in time; do not read
            ahead.
    """

    name: str
    frames: Iterator[NamedImage]
    count: int | None = None
    fps: float | None = None
    live: bool = False
