"""Reads any image source to upright RGB uint8.

The package has three frames: *image pixels* of the upright original, *model pixels* of the S x S
input, and *tokens*, the g x g patches of the input. Coordinates are (x, y), sizes are (height,
width), arrays are [rows, columns].
"""

from __future__ import annotations

import io
import os
import re
import stat
import threading
from typing import BinaryIO, TypeAlias, TypeGuard, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from samclip_sdk.errors import ImageError, RuntimeMissingError, one_line
from samclip_sdk.image.limits import MAX_PIXELS, check_decoding, check_header
from samclip_sdk.system.packages import import_runtime

Given = TypeVar("Given")

ImageOrigin: TypeAlias = "str | bytes | Image.Image | NDArray[np.uint8]"
"""A source from which an image can be read any number of times."""

ImageSource: TypeAlias = "ImageOrigin | os.PathLike[str] | BinaryIO"

_FORMATS = (
    "JPEG", "PNG", "WEBP", "GIF", "BMP", "DIB", "TIFF", "PPM", "AVIF", "HEIF", "JPEG2000", "ICO",
    "TGA", "QOI",
)  # fmt: skip
"""Pillow's names. Its JPEG reads MPO too; HEIF is read with the package pillow-heif."""

_USUAL = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")
"""The first bytes of JPEG and PNG, which Pillow reads without its forty other formats: 2.5 MB."""

_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
"""The first brand of a HEIC file, in its bytes 8 to 11. Pillow itself tells AVIF's from these."""

IMAGE_ENDINGS = frozenset({
    ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".gif", ".bmp", ".dib",
    ".tif", ".tiff", ".avif", ".avifs", ".heic", ".heif", ".hif", ".jp2", ".j2k", ".jpx", ".ppm",
    ".pgm", ".pbm", ".pnm", ".ico", ".tga", ".qoi",
})  # fmt: skip
"""The endings of image files' names, whether this machine can read them or not."""


class _PillowLocks:
    """Locks for PIL images: Pillow decodes at the first use, and two threads at once break it.

    There are enough locks that two images seldom share one. A lock for each image would have to
    live as long as the image.
    """

    def __init__(self) -> None:
        self.renew()
        if hasattr(os, "register_at_fork"):  # Windows has no fork.
            # In a child, nobody would release a lock that another thread of the parent held.
            os.register_at_fork(after_in_child=self.renew)

    def renew(self) -> None:
        self._locks = [threading.RLock() for _ in range(61)]

    def of(self, image: Image.Image) -> threading.RLock:
        return self._locks[id(image) % len(self._locks)]


_LOCKS = _PillowLocks()

_URL = re.compile(r"[a-z][a-z0-9+.-]+:/", re.IGNORECASE)  # pathlib leaves one slash of two

_EXIF_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def open_image(file: str | os.PathLike[str] | BinaryIO) -> Image.Image:
    """Opens an image file as `PIL.Image.open` does, if it is in a raster format.

    Pillow ignores a file's name and reads its content, and some of its formats are programs: a
    PostScript file named holiday.jpg would start Ghostscript.

    Raises:
        Exception: any error of Pillow; `UnidentifiedImageError` for a format not listed here.
        ValueError: a header without an end, or a pipe, which would block without end.
    """
    Image.preinit()
    if isinstance(file, str | os.PathLike):
        if stat.S_ISFIFO(os.stat(file).st_mode):
            raise ValueError("it is a pipe; give its content as bytes")
        # Pillow would leave a file open if its first bytes cannot be read.
        with open(file, "rb") as readable:
            _check_start(readable)
    else:
        _check_start(file)
        file.seek(0)
    return Image.open(file, formats=[each for each in _FORMATS if each in Image.OPEN])


def _check_start(file: BinaryIO) -> None:
    """Refuses an image file by its first bytes; prepares Pillow for one in an unusual format.

    Raises:
        ImageError: it is in HEIC, and the package that reads it is missing.
        ValueError: as `check_header`.
    """
    head = file.read(12)
    file.seek(0)
    if not head.startswith(_USUAL):
        Image.init()
    if head[4:8] == b"ftyp" and head[8:] in _HEIC_BRANDS and "HEIF" not in Image.OPEN:
        try:
            import_runtime("pillow_heif", extra="heic").register_heif_opener()
        except RuntimeMissingError as error:
            raise ImageError(f"the image is in HEIC: {error}") from error
    check_header(file)


def load_image(source: ImageSource) -> NDArray[np.uint8]:
    """Reads an image and turns it upright.

    Grey, palette, CMYK and 16-bit images become RGB (16-bit ones by their full range; mode "I"
    counts as 16-bit). Transparency is composited over white, as on a page: colours under
    transparent pixels are arbitrary, often black. An animation gives its first frame. Colour
    profiles are ignored, as in SAM and CLIP.

    Args:
        source: a path, a PIL image, the content of an image file (bytes, or a file opened in
            binary mode, which is read to its end), or a uint8 array [H,W,3] (RGB), [H,W,4] (RGBA),
            [H,W] or [H,W,1] (grey). An array is assumed to be upright.

    Returns:
        uint8 [H,W,3], RGB, 0..255, contiguous. It may be the given array itself.

    Raises:
        ImageError: no such file, not an image, damaged, empty, a single pixel, an array of another
            dtype or shape, or an image in HEIC without the extra [heic].
    """
    return load_with_origin(source)[0]


def load_with_origin(
    source: ImageSource, *, bgr: bool = False
) -> tuple[NDArray[np.uint8], ImageOrigin]:
    """Reads an image as `load_image` does, and returns a source to read it from again.

    Args:
        source: as in `load_image`.
        bgr: whether an array of three or four channels is in BGR or BGRA, as OpenCV's are.

    Returns:
        The pixels and the source: the absolute path for a path, the content for a file, a read-only
        view for an array, else `source` itself.
    """
    if isinstance(source, np.ndarray):
        view = np.asarray(source).view()
        if bgr and view.ndim == 3 and view.shape[2] in (3, 4):
            view = view[..., [2, 1, 0, 3][: view.shape[2]]]
        view.flags.writeable = False
        return _from_array(view), view
    if isinstance(source, Image.Image):
        with _LOCKS.of(source):
            return _from_pillow(source, name="the image"), source
    if isinstance(source, (str, os.PathLike)):
        path = os.fsdecode(source)
        return _from_file(path, name=one_line(path)), os.path.abspath(path)
    if isinstance(source, (bytes, bytearray, memoryview)):
        content = bytes(source)
    elif _is_file(source):
        content = _read(source)
    else:
        tensor = callable(getattr(source, "permute", None))
        raise ImageError(
            "an image is a path, a PIL image, a uint8 array, bytes or an open file, "
            f"not a {type(source).__name__}"
            + (": of a uint8 tensor [3,H,W] give tensor.permute(1, 2, 0).numpy()" if tensor else "")
        )
    if not content:
        raise ImageError("the image is empty (0 bytes)")
    return _from_file(io.BytesIO(content), name="what was given"), content


def own_image(source: Given) -> Given | ImageOrigin:
    """Copies an image that its owner may change: an iterator may reuse its array.

    Returns:
        An array or a PIL image of its own, or the content of a file. Paths, bytes and values that
        are no image are returned as they are.

    Raises:
        ImageError: as `load_image`.
    """
    if isinstance(source, np.ndarray):
        return np.array(load_image(source))
    if isinstance(source, Image.Image):
        return Image.fromarray(load_image(source))
    if isinstance(source, (bytearray, memoryview)):
        return bytes(source)
    return _read(source) if _is_file(source) else source


def _is_file(source: object) -> TypeGuard[BinaryIO]:
    return callable(getattr(source, "read", None))


def _read(file: BinaryIO) -> bytes:
    try:
        content = file.read()
    except Exception as error:  # `read` may be a method of any class.
        raise ImageError(f"the image cannot be read: {one_line(error)}") from error
    if not isinstance(content, bytes):
        raise ImageError('the file is not open in binary mode: open(path, "rb")')
    return content


def no_such_file(name: str) -> str:
    """What a user should know of an image that is not there; a URL is none of the disk's files."""
    if not _URL.match(name):
        return f"{name}: no such file"
    return (
        f"{name} is a URL, and no file: download it first; `samclip annotate` reads URLs, and with "
        "--fetch `samclip text`, `classify` and `segment` do"
    )


def _from_file(file: str | BinaryIO, *, name: str) -> NDArray[np.uint8]:
    try:
        with open_image(file) as image:
            return _from_pillow(image, name=name)
    except ImageError:
        raise
    except FileNotFoundError:
        raise ImageError(no_such_file(name)) from None
    except UnidentifiedImageError as error:
        raise ImageError(f"{name} is not an image, or of a format that cannot be read") from error
    except Image.DecompressionBombError as error:
        told, _, _ = str(error).partition(",")  # The rest suspects an attack.
        raise ImageError(
            f"{name}: {told}: make it smaller, or raise PIL.Image.MAX_IMAGE_PIXELS"
        ) from error
    except Exception as error:  # A damaged header can raise almost anything in Pillow.
        reason = (isinstance(error, OSError) and error.strerror) or one_line(error)
        raise ImageError(f"{name} cannot be read: {reason}") from error


def _from_array(array: NDArray[np.generic]) -> NDArray[np.uint8]:
    if array.dtype != np.uint8:
        told = f"the image array has dtype {array.dtype}; it must be uint8, 0 to 255"
        if array.dtype.kind == "f":
            told += ': of floats from 0 to 1 give (255 * array).round().astype("uint8")'
        raise ImageError(told)
    channels = array.shape[2] if array.ndim == 3 else 1
    if array.ndim not in (2, 3) or channels not in (1, 3, 4):
        raise ImageError(
            f"the image array has shape {list(array.shape)}; it must be [height, width, 3]"
        )
    height, width = array.shape[:2]
    _check_size(height, width, name="the image array")
    pixels: NDArray[np.uint8] = np.ascontiguousarray(array, dtype=np.uint8)
    if channels == 3:
        return pixels
    return _from_pillow(
        Image.fromarray(pixels.squeeze(2) if pixels.shape[2:] == (1,) else pixels),
        name="the image array",
    )


def _from_pillow(image: Image.Image, *, name: str) -> NDArray[np.uint8]:
    _check_size(image.height, image.width, name=name)
    try:
        check_decoding(image)
        rgb = _to_rgb(image, name=name)
        turn = _turn(image)
        return np.array(rgb if turn is None else rgb.transpose(turn))
    except ImageError:
        raise
    except Exception as error:  # Pillow's decoders raise almost anything on damaged data.
        raise ImageError(f"{name} cannot be read: {one_line(error)}") from error


def _to_rgb(image: Image.Image, *, name: str) -> Image.Image:
    if image.mode == "F":
        raise ImageError(f"{name} holds floating-point pixels; convert it to 8 bits first")
    if image.mode.startswith("I"):  # "I;16", its byte orders, and "I" as older Pillows read them
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise ImageError(f"{name} holds 32-bit pixels; convert it to 8 bits first")
        return Image.fromarray(((values + 128) // 257).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    return image.convert("RGB")


def _turn(image: Image.Image) -> Image.Transpose | None:
    """The turn that makes the image upright. Damaged EXIF data is no error: None, then."""
    try:
        return _UPRIGHT.get(image.getexif().get(_EXIF_ORIENTATION, 1))
    except Exception:  # Pillow raises almost anything here.
        return None


def _check_size(height: int, width: int, *, name: str) -> None:
    if height < 1 or width < 1:
        raise ImageError(f"{name} is empty: {width} x {height} pixels")
    if height * width > MAX_PIXELS:
        raise ImageError(
            f"{name} has {width} x {height} pixels; at most {MAX_PIXELS} are supported"
        )
    if height * width == 1:
        raise ImageError(f"{name} is a single pixel")
