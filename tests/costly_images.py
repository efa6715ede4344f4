"""Small files of images that ask for far more work than their size tells."""

from __future__ import annotations

import io
import struct
import zlib

from PIL import Image


def jpeg_of_scans(scans: int, *, side: int = 40, before: bytes = b"") -> bytes:
    """A progressive JPEG whose last scan, which adds nothing, is there again and again.

    Args:
        scans: how many it has in all; 6 at least.
        side: of the image.
        before: segments in front of its own.
    """
    content = io.BytesIO()
    Image.new("L", (side, side), 128).save(content, "JPEG", progressive=True)
    head, *parts = content.getvalue().removesuffix(b"\xff\xd9").split(b"\xff\xda")
    parts += [parts[-1]] * (scans - len(parts))
    start = head[:2] + before + head[2:]
    return start + b"".join(b"\xff\xda" + part for part in parts) + b"\xff\xd9"


def segment(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content


def ppm_of_comments(comments: int, *, kind: bytes = b"P3") -> bytes:
    return kind + b"\n3 2\n255\n" + b"#\n" * comments + b"7 " * 18


def tiff_of_one_tile(width: int, height: int, *, side: int = 64) -> bytes:
    """A grey TIFF whose one tile is as large, and holds nothing but zeros."""
    data = zlib.compress(bytes(width * height), 9) if width * height < 1 << 24 else b""
    tags = [(256, side), (257, side), (258, 8), (259, 8), (262, 1), (277, 1)]
    tags += [(322, width), (323, height), (324, 14 + 12 * 10), (325, len(data))]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return struct.pack("<2sHIH", b"II", 42, 8, len(tags)) + entries + bytes(4) + data
