"""Pictures: arrays of every kind, Pillow's modes, files whole and damaged, things that are none."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from functools import cache
from random import Random

import numpy as np
from PIL import Image

from tests.costly_pictures import jpeg_of_scans, ppm_of_comments, tiff_of_one_tile
from tests.fuzz.damage import damaged
from tests.fuzz.oracle import Case, holds
from tests.fuzz.values import THINGS, pixels, shown
from tests.fuzz.world import World

SIZES = (
    *((1, 1), (1, 2), (2, 1), (1, 3000), (3000, 1), (3, 3000), (1, 257), (255, 256), (16, 16)),
    *((33, 7), (0, 5), (5, 0), (0, 0), (600, 800)),
)
DTYPES = (
    *("int8", "uint16", "int32", "int64", "uint64", "float16", "float32", "float64", "bool"),
    *("complex64", "object", "U1", "S1", "M8[s]", "V3", "longdouble", ">u2"),
)
SHAPES = (
    *((), (8,), (8, 8), (8, 8, 1), (8, 8, 2), (8, 8, 4), (8, 8, 5), (3, 8, 8), (1, 8, 8, 3)),
    *((8, 8, 3, 1), (8, 8, 0), (0, 8, 3), (1, 1, 3), (2, 1, 4)),
)
MODES = (
    *("1", "L", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "HSV", "I", "F", "LA", "PA", "RGBX"),
    *("RGBa", "La", "I;16", "I;16B", "I;16L"),
)
PATHS = (
    *("", " ", "\0", "a\0b", "none.jpg", "/dev/null", "/", ".", "/proc/self/mem", "\ud800", "~"),
    *("x" * 5000, "http://example.com/a.jpg", "file:///etc/passwd", b"none.jpg"),
)


def subject(world: World) -> Callable[[Random], Case]:
    def draw(rng: Random) -> Case:
        kind = rng.choice((_array, _odd_array, _view, _pillow, _thing, _file, _file, _file, _file))
        what, image, size = kind(rng, world)
        verb = rng.choice(("segment_text", "segment_text", "classify", "prepare_image", "segment"))
        calls: dict[str, Callable[[], object]] = {
            "segment_text": lambda: world.model.segment_text(
                image, ["apple", "dog"], threshold=0.0
            ),
            "classify": lambda: world.model.classify(image, ["apple", "dog"]),
            "prepare_image": lambda: world.model.prepare_image(image),
            "segment": lambda: world.model.segment(image, points=[[0, 0]]),
        }
        of = None if verb == "classify" else size
        return Case(f"{verb} of {what}", calls[verb], check=lambda answer: holds(answer, size=of))

    return draw


def _array(rng: Random, world: World) -> tuple[str, object, tuple[int, int] | None]:
    height, width = rng.choice(SIZES)
    channels = rng.choice((3, 3, 3, 1, 4))
    return (
        f"noise {height}x{width}x{channels}",
        pixels(rng, height, width, channels),
        (height, width),
    )


def _odd_array(rng: Random, world: World) -> tuple[str, object, None]:
    dtype, shape = rng.choice(DTYPES), rng.choice(SHAPES)
    array = np.zeros(shape, dtype=dtype)
    if array.dtype.kind == "f":
        array[...] = rng.choice((0, 0.5, np.nan, np.inf))
    return f"{dtype} {shape}", array, None


def _view(rng: Random, world: World) -> tuple[str, object, tuple[int, int] | None]:
    base = pixels(rng, 64, 80)
    views: dict[str, np.ndarray] = {
        "reversed": base[::-1, ::-1],
        "bgr": base[..., ::-1],
        "transposed": base.transpose(1, 0, 2),
        "strided": base[::3, ::2],
        "fortran": np.asfortranarray(base),
        "broadcast": np.broadcast_to(np.uint8(7), (40, 50, 3)),
        "masked": np.ma.masked_array(base, mask=base > 100),
        "recarray": base.view(np.recarray),
        "some channels": pixels(rng, 20, 20, 8)[..., 2:5],
        "grey": base[..., 0],
    }
    name = rng.choice(sorted(views))
    return f"a view: {name}", views[name], views[name].shape[:2]


def _pillow(rng: Random, world: World) -> tuple[str, object, tuple[int, int] | None]:
    mode, (height, width) = rng.choice(MODES), rng.choice(((1, 2), (17, 9), (200, 300)))
    image = Image.new(mode, (width, height))
    bands = len(image.getbands())
    if bands > 1 or mode in ("1", "L", "P"):
        noise = Image.fromarray(pixels(rng, height, width)).convert("L")
        image.paste(noise.convert(mode) if mode in ("1", "L", "RGB") else image, (0, 0))
    turned = rng.choice((None, 1, 3, 6, 8, 9, -1, "x"))
    if turned is not None:
        image.getexif()[0x0112] = turned
    size = (width, height) if turned in (6, 8) else (height, width)
    if rng.random() < 0.05:
        image.close()
    return f"mode {mode} {height}x{width} turned {turned!r}", image, size


def _thing(rng: Random, world: World) -> tuple[str, object, None]:
    thing = rng.choice((*THINGS, *PATHS, io.BytesIO(b"x"), pixels(rng, 3, 3).tolist()))
    # Many images are their own kind of call, with answers in a list or an iterator.
    wrapped = rng.choice((thing, thing, [thing], [pixels(rng, 9, 9), thing]))
    return shown(wrapped), wrapped, None


def _file(rng: Random, world: World) -> tuple[str, object, None]:
    name = rng.choice(sorted(files()))
    way, content = damaged(files()[name], rng) if rng.random() < 0.9 else ("whole", files()[name])
    path = world.work / f"case.{name.rpartition('.')[2]}"
    path.write_bytes(content)
    image: object = rng.choice((path, path, str(path), content, io.BytesIO(content)))
    return f"{name}, {way}, as {type(image).__name__}", image, None


@cache
def files() -> dict[str, bytes]:
    """A small file of each format that Pillow writes, and some that only look like pictures."""
    rng = Random(0)
    rgb = Image.fromarray(pixels(rng, 24, 32))
    rgba = Image.fromarray(pixels(rng, 24, 32, 4))
    sixteen = Image.fromarray(pixels(rng, 24, 32, 2).view(np.uint16)[..., 0])
    more = [Image.fromarray(pixels(rng, 24, 32)) for _ in range(2)]
    exif = Image.Exif()
    exif[0x0112] = 6
    files = {
        "rgb.jpg": _encoded(rgb, "JPEG", exif=exif),
        "progressive.jpg": _encoded(rgb, "JPEG", progressive=True),
        "cmyk.jpg": _encoded(rgb.convert("CMYK"), "JPEG"),
        "two.mpo": _encoded(rgb, "MPO", save_all=True, append_images=more),
        "rgb.png": _encoded(rgb, "PNG"),
        "rgba.png": _encoded(rgba, "PNG"),
        "palette.png": _encoded(rgb.quantize(8), "PNG", transparency=bytes([0, 100, 255, 0])),
        "sixteen.png": _encoded(sixteen, "PNG"),
        "animated.png": _encoded(rgb, "PNG", save_all=True, append_images=more),
        "rgba.webp": _encoded(rgba, "WEBP"),
        "animated.webp": _encoded(rgb, "WEBP", save_all=True, append_images=more),
        "palette.gif": _encoded(rgb.quantize(16), "GIF", transparency=3),
        "rgb.tif": _encoded(rgb, "TIFF"),
        "lzw.tif": _encoded(rgb, "TIFF", compression="tiff_lzw"),
        "sixteen.tif": _encoded(sixteen, "TIFF"),
        "pages.tif": _encoded(rgb, "TIFF", save_all=True, append_images=[rgb.copy()]),
        "rgb.bmp": _encoded(rgb, "BMP"),
        "rgb.ico": _encoded(rgb, "ICO"),
        "rgb.ppm": _encoded(rgb, "PPM"),
        "plain.ppm": ppm_of_comments(3),
        "comments.ppm": ppm_of_comments(200_000),
        "scans.jpg": jpeg_of_scans(3000, side=900),
        "tile.tif": tiff_of_one_tile(128, 64),
        "large tile.tif": tiff_of_one_tile(26_000, 26_000),
        "rgba.tga": _encoded(rgba, "TGA"),
        "program.eps": _encoded(rgb, "EPS"),
        "page.pdf": _encoded(rgb, "PDF"),
        "phone.heic": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(200),
        "drawing.svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        "empty.jpg": b"",
        "text.jpg": b"hello",
        "huge.png": _png(2**31 - 1, 2**31 - 1),
        "large.png": _png(40_000, 40_000),
        "nothing.png": _png(0, 5),
    }
    optional = {"rgb.jp2": "JPEG2000", "rgb.avif": "AVIF"}
    return files | {n: _encoded(rgb, kind) for n, kind in optional.items() if kind in Image.SAVE}


def _encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    content = io.BytesIO()
    image.copy().save(content, kind, **options)  # Pillow keeps the options of the last time
    return content.getvalue()


def _png(width: int, height: int) -> bytes:
    """A PNG that says that it is as large, and holds next to nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body
