from __future__ import annotations

import gc
import io
import os
import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import EpsImagePlugin, Image

from samclip_sdk.errors import ImageError
from samclip_sdk.image.frame import Frame
from samclip_sdk.image.loading import load_image, load_with_origin
from tests.refusals import refused

SIDES = st.integers(1, 5000)


def sample_image(height: int = 30, width: int = 40, *, seed: int = 0) -> NDArray[np.uint8]:
    generator = np.random.default_rng(seed)
    return generator.integers(0, 256, (height, width, 3), dtype=np.uint8)


# --- what is read ------------------------------------------------------------------------------


class Reader:
    """A file that can do nothing but be read, as that of a network library."""

    def __init__(self, content: object) -> None:
        self.content = content

    def read(self) -> object:
        if isinstance(self.content, Exception):
            raise self.content
        return self.content


def test_every_source_gives_the_same_pixels_and_can_be_read_again(tmp_path: Path) -> None:
    array = sample_image()
    path = tmp_path / "a.png"
    Image.fromarray(array).save(path)
    content = path.read_bytes()
    sources = [path, str(path), Image.fromarray(array), array, array[:, ::-1][:, ::-1]]
    sources += [content, bytearray(content), memoryview(content), io.BytesIO(content)]
    with path.open("rb") as file:
        for source in (*sources, file, Reader(content)):
            loaded, again = load_with_origin(source)
            assert loaded.dtype == np.uint8
            assert loaded.flags.c_contiguous
            np.testing.assert_array_equal(loaded, array)
            np.testing.assert_array_equal(load_image(again), array)


def test_what_is_remembered_of_a_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path holds no memory and outlives a change of folder; pixels are not copied."""
    Image.fromarray(sample_image()).save(tmp_path / "a.png")
    monkeypatch.chdir(tmp_path)
    for path in ("a.png", Path("a.png"), tmp_path / "a.png"):
        assert load_with_origin(path)[1] == str(tmp_path / "a.png")
    array, pillow = sample_image(), Image.fromarray(sample_image())
    seen = load_with_origin(array)[1]
    assert np.shares_memory(seen, array)
    assert array.flags.writeable
    assert not seen.flags.writeable
    assert load_with_origin(pillow)[1] is pillow


@pytest.mark.parametrize("mode", ["L", "P", "1", "LA", "CMYK", "YCbCr", "HSV", "RGBA", "PA"])
def test_every_mode_becomes_rgb(mode: str) -> None:
    loaded = load_image(Image.fromarray(sample_image()).convert("RGBA" if mode == "PA" else mode))
    assert loaded.shape == (30, 40, 3)
    assert loaded.dtype == np.uint8


def test_grey_arrays_are_repeated() -> None:
    grey = sample_image()[..., 0]
    for source in (grey, grey[..., None]):
        np.testing.assert_array_equal(load_image(source), np.repeat(grey[..., None], 3, axis=2))


def test_transparency_is_composited_over_white(tmp_path: Path) -> None:
    rgba = np.zeros((2, 3, 4), dtype=np.uint8)
    rgba[0, :, :3], rgba[0, :, 3] = (200, 100, 0), 255
    rgba[1, 0, 3] = 128  # half black
    expected = np.full((2, 3, 3), 255)
    expected[0], expected[1, 0] = (200, 100, 0), 127
    path = tmp_path / "a.png"
    Image.fromarray(rgba).save(path)
    for source in (rgba, path):
        np.testing.assert_array_equal(load_image(source), expected)


def test_a_transparent_palette_colour_becomes_white(tmp_path: Path) -> None:
    image = Image.new("P", (4, 4), 0)
    image.putpalette([0, 0, 0, 255, 0, 0])
    image.putpixel((0, 0), 1)
    image.save(tmp_path / "a.gif", transparency=0)
    loaded = load_image(tmp_path / "a.gif")
    assert loaded[0, 0].tolist() == [255, 0, 0]
    assert loaded[3, 3].tolist() == [255, 255, 255]


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bits_become_8_over_the_full_range(tmp_path: Path, suffix: str) -> None:
    values = np.array([[0, 128, 129, 257], [32896, 65278, 65279, 65535]], dtype=np.uint16)
    Image.fromarray(values).save(tmp_path / f"a.{suffix}")
    loaded = load_image(tmp_path / f"a.{suffix}")
    assert loaded[..., 0].tolist() == [[0, 0, 1, 1], [128, 254, 254, 255]]


def test_the_first_frame_of_an_animation_counts(tmp_path: Path) -> None:
    red, blue = Image.new("RGB", (4, 4), "red"), Image.new("RGB", (4, 4), "blue")
    red.save(tmp_path / "a.gif", save_all=True, append_images=[blue])
    assert load_image(tmp_path / "a.gif")[0, 0].tolist() == [255, 0, 0]


# --- what is refused ---------------------------------------------------------------------------


GREY, PIXELS = np.full((4, 4), np.nan, np.float32), np.zeros((4, 4, 3), np.uint8)
OUTSIZED = struct.pack(
    "<2sIHHIIiiHHIIiiII", b"BM", 54, 0, 0, 54, 40, 60000, 60000, 1, 24, 0, 0, 0, 0, 0, 0
)


class Tensor:
    """What tells a tensor of torch, which need not be installed, from anything else."""

    def permute(self, *_: int) -> Tensor:
        return self


REFUSED: list[tuple[object, str]] = [
    *((content, "image") for content in (b"", b"hello", bytes(1000), b"\x89PNG\r\n\x1a\n")),
    (OUTSIZED, "3600000000 pixels) exceeds limit of 178956970 pixels: make it smaller"),
    (Reader("text"), "binary mode"),
    (Reader(None), "binary mode"),
    (Reader(OSError("gone\naway")), r"gone\naway"),
    (Reader(b""), "0 bytes"),
    # Paths that no system could have, a folder, a circle of links.
    *(
        (name, "")
        for name in ("a\0b.png", "\ud800.png", "x" * 5000, "", "loop", "a\nb.png", Path("loop"))
    ),
    (Path("missing.jpg"), "missing.jpg"),
    ("https://host/dog.jpg", "https://host/dog.jpg is a URL, and no file: download it first"),
    (Path("https://host/dog.jpg"), "download it first"),
    (Path("."), "cannot be read"),
    *((source, "pixel") for source in (Image.new("L", (1, 1)), PIXELS[:1, :1])),
    *((source, "empty") for source in (Image.new("RGB", (0, 5)), PIXELS[:0])),
    *((PIXELS.astype(kind), np.dtype(kind).name) for kind in (float, np.float32, np.uint16, bool)),
    (np.full((4, 4, 3), np.nan), "uint8"),
    (PIXELS / 255, '(255 * array).round().astype("uint8")'),
    (Tensor(), "tensor.permute(1, 2, 0).numpy()"),
    (Image.fromarray(GREY), "floating-point"),
    (Image.fromarray(np.full((4, 4), 100_000, dtype=np.int32)), "32-bit"),
    *(
        (np.zeros(shape, np.uint8), str([*shape]))
        for shape in ((3, 40, 40), (4,), (1, 4, 4, 3), (4, 4, 2))
    ),
    *((source, type(source).__name__) for source in (None, 3, [[1, 2]], object())),
]


@pytest.mark.parametrize(("source", "word"), REFUSED)
def test_what_is_no_image_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: object, word: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("loop").symlink_to("loop")
    error = refused(lambda: load_image(source), ImageError, word)
    assert str(error).isprintable()
    assert len(str(error)) < 600


def test_a_postscript_file_starts_no_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pillow hands PostScript, whatever the file is called, to a program named gs."""
    ghostscript = tmp_path / "gs"
    ghostscript.write_text(f"#!/bin/sh\ntouch {tmp_path}/started\nexit 1\n")
    ghostscript.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)  # it looks for gs once
    holiday = tmp_path / "holiday.jpg"
    Image.fromarray(sample_image()).save(holiday, format="EPS")
    for source in (holiday, holiday.read_bytes()):
        refused(partial(load_image, source), ImageError, "format")
    assert not (tmp_path / "started").exists()
    with pytest.raises(Exception), Image.open(holiday) as image:  # noqa: B017, PT011, whatever Pillow raises
        image.load()
    assert (tmp_path / "started").exists(), "a program that was started would not be noticed"


def test_damaged_exif_does_not_lose_the_image(tmp_path: Path) -> None:
    Image.fromarray(sample_image()).save(tmp_path / "a.png", exif=b"Exif\0\0II*\0\xff\xff\xff\x7f")
    assert load_image(tmp_path / "a.png").shape == (30, 40, 3)


# --- geometry ----------------------------------------------------------------------------------


@given(SIDES, SIDES, st.sampled_from([(64, 16), (256, 16), (336, 14), (1024, 16)]))
def test_token_mask_is_one_where_a_patch_holds_a_pixel(
    height: int, width: int, sizes: tuple[int, int]
) -> None:
    resolution, patch = sizes
    frame = Frame.fit(height, width, resolution=resolution)
    pixels = np.zeros((resolution, resolution), dtype=np.float32)
    pixels[: frame.resized_height_px, : frame.resized_width_px] = 1
    grid = resolution // patch
    expected = pixels.reshape(grid, patch, grid, patch).max(axis=(1, 3))[None]
    mask = frame.token_mask(patch_size=patch)
    assert mask.dtype == np.float32
    np.testing.assert_array_equal(mask, expected)


@pytest.mark.parametrize(
    ("ask", "word"),
    [
        (lambda: Frame.fit(3, 4, resolution=64).token_mask(patch_size=15), "15"),
        (lambda: Frame(3, 4, 64, 0, 64), "1 pixel"),
        (lambda: Frame(3, 4, 64, 48, 65), "65"),
    ],
)
def test_a_frame_that_cannot_be_is_refused(ask: Callable[[], object], word: str) -> None:
    refused(ask, ValueError, word)


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs a file that opens unread")
def test_a_file_that_opens_and_cannot_be_read_is_closed() -> None:
    """Pillow would leave it open, which is a warning here, and an error of this test."""
    refused(lambda: load_image("/proc/self/mem"), ImageError, "/proc/self/mem")
    gc.collect()
