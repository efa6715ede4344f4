"""A small file of each format that Pillow writes, and some that only look like images."""

from __future__ import annotations

import io
import struct
import zlib
from functools import cache
from typing import Any

import numpy as np
from PIL import Image

from tests.costly_images import jpeg_of_scans, ppm_of_comments, tiff_of_one_tile
from tests.fuzz.cases import noise


@cache
def image_files() -> dict[str, bytes]:
    """The content of each, by its name."""
    rgb, rgba = Image.fromarray(noise(0, 24, 32)), Image.fromarray(noise(1, 24, 32, 4))
    sixteen = Image.fromarray(noise(2, 24, 32, 2).view(np.uint16)[..., 0])
    exif = Image.Exif()
    exif[0x0112] = 6
    files = {
        "rgb.jpg": encoded(rgb, "JPEG", exif=exif),
        "progressive.jpg": encoded(rgb, "JPEG", progressive=True),
        "cmyk.jpg": encoded(rgb.convert("CMYK"), "JPEG"),
        "two.mpo": encoded(rgb, "MPO", **_more()),
        "rgb.png": encoded(rgb, "PNG"),
        "rgba.png": encoded(rgba, "PNG"),
        "palette.png": encoded(rgb.quantize(8), "PNG", transparency=bytes([0, 100, 255, 0])),
        "sixteen.png": encoded(sixteen, "PNG"),
        "animated.png": encoded(rgb, "PNG", **_more()),
        "rgba.webp": encoded(rgba, "WEBP"),
        "animated.webp": encoded(rgb, "WEBP", **_more()),
        "palette.gif": encoded(rgb.quantize(16), "GIF", transparency=3),
        "rgb.tif": encoded(rgb, "TIFF"),
        "lzw.tif": encoded(rgb, "TIFF", compression="tiff_lzw"),
        "sixteen.tif": encoded(sixteen, "TIFF"),
        "pages.tif": encoded(rgb, "TIFF", **_more()),
        "rgb.bmp": encoded(rgb, "BMP"),
        "rgb.ico": encoded(rgb, "ICO"),
        "rgb.ppm": encoded(rgb, "PPM"),
        "plain.ppm": ppm_of_comments(3),
        "comments.ppm": ppm_of_comments(200_000),
        "scans.jpg": jpeg_of_scans(3000, side=900),
        "tile.tif": tiff_of_one_tile(128, 64),
        "large tile.tif": tiff_of_one_tile(26_000, 26_000),
        "rgba.tga": encoded(rgba, "TGA"),
        "program.eps": encoded(rgb, "EPS"),
        "page.pdf": encoded(rgb, "PDF"),
        "phone.heic": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(200),
        "drawing.svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        "empty.jpg": b"",
        "text.jpg": b"hello",
        "huge.png": empty_png(2**31 - 1, 2**31 - 1),
        "large.png": empty_png(40_000, 40_000),
        "nothing.png": empty_png(0, 5),
    }
    optional = {"rgb.jp2": "JPEG2000", "rgb.avif": "AVIF"}
    return files | {n: encoded(rgb, kind) for n, kind in optional.items() if kind in Image.SAVE}


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    """An image as a file."""
    content = io.BytesIO()
    image.copy().save(content, kind, **options)  # Pillow keeps the options of the last time
    return content.getvalue()


def _more() -> dict[str, Any]:
    return {"save_all": True, "append_images": [Image.fromarray(noise(3, 24, 32)) for _ in "23"]}


def empty_png(width: int, height: int) -> bytes:
    """A PNG that says that it is as large, and holds next to nothing."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
