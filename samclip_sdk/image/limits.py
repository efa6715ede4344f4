"""Limits on the cost of decoding an image, checked before it: a few bytes can cost minutes."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import IO, BinaryIO

from PIL import Image, ImageFile

MAX_PIXELS = 1 << 30
"""The most pixels of an image; a single mask of it takes a gigabyte."""

MAX_SCANS = 100
"""The most scans of a JPEG, as in libtiff: encoders make about ten, each over all pixels."""

MAX_COMMENTS = 1000
"""The most comments of a PPM in plain text: Pillow moves a megabyte for each."""

MAX_HEADER_BYTES = 1 << 16
"""The longest header of a PPM, with comments: Pillow reads it byte by byte."""

_BLOCK = 1 << 20
_TILE_WIDTH, _TILE_LENGTH = 322, 323  # TIFF's tags
# A JPEG's segment: its marker is neither a part of the data nor one without a length.
_SEGMENT = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]..", re.DOTALL)
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9
_NUMBER = rb"(?:\s|#[^\r\n]*[\r\n])+[^\s#]+"
# A PPM's header: bitmaps have two numbers, width and height; all other kinds have three.
_PPM_HEADER = re.compile(rb"P(?:[14]|\S{1,5}" + _NUMBER + rb")(?:" + _NUMBER + rb"){2}\s")


def check_header(file: BinaryIO) -> None:
    """Refuses an image file whose header has no end, before Pillow looks for the end.

    Raises:
        ValueError: the reason.
    """
    head = file.read(MAX_HEADER_BYTES)
    is_ppm = re.match(rb"P[0-6fy]", head)
    if is_ppm and len(head) == MAX_HEADER_BYTES and not _PPM_HEADER.match(head):
        raise ValueError(
            f"the header of a PPM must end within {MAX_HEADER_BYTES} bytes: leave its comments out"
        )


def decoded_size(image: Image.Image) -> tuple[int, int]:
    """The width and height that are decoded at once: the image, or a larger tile of a TIFF."""
    tags = getattr(image, "tag_v2", {})
    width, height = tags.get(_TILE_WIDTH), tags.get(_TILE_LENGTH)
    if isinstance(width, int) and isinstance(height, int):
        return max(image.size, (width, height), key=math.prod)
    return image.size


def check_decoding(image: Image.Image) -> None:
    """Refuses an image that costs far more to decode than its size tells.

    Args:
        image: from a file and not decoded yet; any other image passes.

    Raises:
        ValueError: the reason.
    """
    if not (isinstance(image, ImageFile.ImageFile) and image.tile and image.fp):
        return
    width, height = decoded_size(image)
    maximum = min(MAX_PIXELS, 2 * (Image.MAX_IMAGE_PIXELS or MAX_PIXELS))  # Pillow's own limit
    if (width, height) != image.size and width * height > maximum:
        raise ValueError(
            f"its tiles have {width} x {height} pixels; at most {maximum} are supported: save it "
            "with smaller ones"
        )
    decoder, _, start = image.tile[0][:3]
    if decoder == "jpeg" and _more_scans(image.fp, start=start):
        raise ValueError(
            f"it is a JPEG of more than {MAX_SCANS} scans, which would take minutes: save it again"
        )
    if decoder == "ppm_plain" and _more_comments(image.fp, start=start):
        raise ValueError(f"it has more than {MAX_COMMENTS} comments: leave them out")


def _more_scans(file: IO[bytes], *, start: int) -> bool:
    scans = 0
    for marker in _markers(file, start=start):
        scans += marker == _START_OF_SCAN
        if marker == _END_OF_IMAGE or scans > MAX_SCANS:
            break
    return scans > MAX_SCANS


def _markers(file: IO[bytes], *, start: int) -> Iterator[int]:
    """Yields the markers of a JPEG's segments; a segment's content (a thumbnail) is skipped."""
    while True:
        file.seek(start)
        block = file.read(_BLOCK)
        if len(block) < 4:
            return
        offset = 0
        while found := _SEGMENT.search(block, offset):
            yield found[0][1]
            offset = found.start() + 2 + int.from_bytes(found[0][2:], "big")
        start += max(offset, len(block) - 3)


def _more_comments(file: IO[bytes], *, start: int) -> bool:
    file.seek(start)
    comments = 0
    while comments <= MAX_COMMENTS and (block := file.read(_BLOCK)):
        comments += block.count(b"#")
    return comments > MAX_COMMENTS
