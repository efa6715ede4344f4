from __future__ import annotations

import ast
import gc
import io
import os
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import EpsImagePlugin, Image

from samclip_sdk.errors import ImageError
from samclip_sdk.picture.frame import Frame, center_crop, letterbox
from samclip_sdk.picture.image import load_image, load_with_origin

SIDES = st.integers(1, 5000)
RESOLUTIONS = st.sampled_from([64, 128, 224, 256, 336, 448, 1024])


def picture(height: int = 30, width: int = 40, *, seed: int = 0) -> NDArray[np.uint8]:
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
    array = picture()
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
    Image.fromarray(picture()).save(tmp_path / "a.png")
    monkeypatch.chdir(tmp_path)
    for path in ("a.png", Path("a.png"), tmp_path / "a.png"):
        assert load_with_origin(path)[1] == str(tmp_path / "a.png")
    array, pillow = picture(), Image.fromarray(picture())
    seen = load_with_origin(array)[1]
    assert np.shares_memory(seen, array)
    assert array.flags.writeable
    assert not seen.flags.writeable
    assert load_with_origin(pillow)[1] is pillow


@pytest.mark.parametrize("mode", ["L", "P", "1", "LA", "CMYK", "YCbCr", "HSV", "RGBA", "PA"])
def test_every_mode_becomes_rgb(mode: str) -> None:
    loaded = load_image(Image.fromarray(picture()).convert("RGBA" if mode == "PA" else mode))
    assert loaded.shape == (30, 40, 3)
    assert loaded.dtype == np.uint8


def test_grey_arrays_are_repeated() -> None:
    grey = picture()[..., 0]
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


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_undone(tmp_path: Path, orientation: int) -> None:
    upright = picture(5, 7)
    # How a camera stores it: the inverse of what a viewer does.
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "a.png"
    Image.fromarray(np.ascontiguousarray(stored)).save(path, exif=exif)
    np.testing.assert_array_equal(load_image(path), upright)
    with Image.open(path) as image:
        np.testing.assert_array_equal(load_image(image), upright)


@pytest.mark.parametrize("size", [(20_000, 10), (10, 20_000), (1, 2), (3000, 1)])
def test_extreme_shapes_are_handled(size: tuple[int, int]) -> None:
    width, height = size
    image = load_image(Image.new("RGB", size, "red"))
    square, frame = letterbox(image, resolution=64, pad_colour=(1, 2, 3))
    assert square.shape == center_crop(image, resolution=64).shape == (1, 3, 64, 64)
    assert min(frame.resized_height_px, frame.resized_width_px) >= 1
    assert (frame.height_px, frame.width_px) == (height, width)


# --- what is refused ---------------------------------------------------------------------------


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"missing\.jpg: no such file"):
        load_image(tmp_path / "missing.jpg")


@pytest.mark.parametrize("content", [b"", b"hello", bytes(1000), b"\x89PNG\r\n\x1a\n"])
def test_not_an_image(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(ImageError, match=r"a\.png"):
        load_image(tmp_path / "a.png")
    for source in (content, io.BytesIO(content)):
        with pytest.raises(ImageError, match="what was given"):
            load_image(source)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("text", r'not open in binary mode: open\(path, "rb"\)'),
        (None, "not open in binary mode"),
        (OSError("gone\naway"), r"cannot be read: gone\\naway"),
        (b"", "empty: 0 bytes"),
    ],
)
def test_files_that_cannot_be_read(content: object, said: str) -> None:
    with pytest.raises(ImageError, match=said):
        load_image(Reader(content))


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
    Image.fromarray(picture()).save(holiday, format="EPS")
    for source in (holiday, holiday.read_bytes()):
        with pytest.raises(ImageError, match="of a format that cannot be read"):
            load_image(source)
    assert not (tmp_path / "started").exists()
    with pytest.raises(Exception), Image.open(holiday) as image:  # noqa: B017, PT011
        image.load()
    assert (tmp_path / "started").exists(), "a program that was started would not be noticed"


def test_no_module_opens_pictures_of_any_format() -> None:
    offenders = [
        f"{path}:{node.lineno}"
        for folder in ("samclip_sdk", "export", "training", "benchmarks")
        for path in (Path(__file__).parents[2] / folder).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func).endswith("Image.open")
        and "formats" not in {each.arg for each in node.keywords}
    ]
    assert not offenders


@pytest.mark.parametrize("path", ["a\0b.png", "\ud800.png", "x" * 5000, "", "loop", "a\nb.png"])
def test_paths_that_cannot_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path("loop").symlink_to("loop")
    for source in (path, Path(path)):
        with pytest.raises(ImageError) as caught:
            load_image(source)
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 600


def test_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="cannot be read"):
        load_image(tmp_path)


@pytest.mark.parametrize("name", ["PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP"])
def test_a_truncated_file_is_an_image_error_wherever_it_is_cut(tmp_path: Path, name: str) -> None:
    buffer = io.BytesIO()
    Image.fromarray(picture()).save(buffer, format=name)
    content, path = buffer.getvalue(), tmp_path / "a"
    for end in range(0, len(content) - 20, 97):  # some formats can do without their trailer
        path.write_bytes(content[:end])
        with pytest.raises(ImageError) as caught:
            load_image(path)
        assert "\n" not in str(caught.value)


def test_damaged_exif_does_not_lose_the_picture(tmp_path: Path) -> None:
    Image.fromarray(picture()).save(tmp_path / "a.png", exif=b"Exif\0\0II*\0\xff\xff\xff\x7f")
    assert load_image(tmp_path / "a.png").shape == (30, 40, 3)


def test_a_picture_too_large_to_be_true(tmp_path: Path) -> None:
    header = struct.pack("<2sIHHIIiiHHIIiiII", b"BM", 54, 0, 0, 54, 40, 60000, 60000, 1, 24,
                         0, 0, 0, 0, 0, 0)  # fmt: skip
    (tmp_path / "a.bmp").write_bytes(header)
    with pytest.raises(ImageError, match="decompression bomb"):
        load_image(tmp_path / "a.bmp")


def test_a_single_pixel_and_none(tmp_path: Path) -> None:
    Image.new("RGB", (1, 1)).save(tmp_path / "a.png")
    for source in (tmp_path / "a.png", Image.new("L", (1, 1)), np.zeros((1, 1, 3), np.uint8)):
        with pytest.raises(ImageError, match="single pixel"):
            load_image(source)
    for empty in (Image.new("RGB", (0, 5)), np.zeros((0, 5, 3), np.uint8)):
        with pytest.raises(ImageError, match="empty"):
            load_image(empty)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint16, np.int64, bool])
def test_arrays_of_another_dtype(dtype: type) -> None:
    with pytest.raises(ImageError, match=f"dtype {np.dtype(dtype)}; it must be uint8"):
        load_image(np.zeros((4, 4, 3), dtype=dtype))


def test_nan() -> None:
    with pytest.raises(ImageError, match="uint8"):
        load_image(np.full((4, 4, 3), np.nan))
    with pytest.raises(ImageError, match="floating-point"):
        load_image(Image.fromarray(np.full((4, 4), np.nan, dtype=np.float32)))


@pytest.mark.parametrize("shape", [(3, 40, 40), (4,), (1, 4, 4, 3), (4, 4, 2)])
def test_arrays_of_another_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(ImageError, match="it must be \\[height, width, 3\\]"):
        load_image(np.zeros(shape, dtype=np.uint8))


def test_32_bit_pixels() -> None:
    with pytest.raises(ImageError, match="32-bit"):
        load_image(Image.fromarray(np.full((4, 4), 100_000, dtype=np.int32)))


@pytest.mark.parametrize("source", [None, 3, [[1, 2]], object()])
def test_things_that_are_no_image(source: object) -> None:
    with pytest.raises(ImageError, match=f"not a {type(source).__name__}"):
        load_image(source)


# --- geometry ----------------------------------------------------------------------------------


@given(SIDES, SIDES, RESOLUTIONS, st.floats(0, 1), st.floats(0, 1))
def test_coordinates_come_back(h: int, w: int, resolution: int, u: float, v: float) -> None:
    frame = Frame.fit(h, w, resolution=resolution)
    coords = np.array([[u * w, v * h]])
    model = frame.to_model(coords)
    assert (model <= np.array([frame.resized_width_px, frame.resized_height_px]) + 1e-6).all()
    np.testing.assert_allclose(frame.to_image(model), coords, rtol=1e-12, atol=1e-12)


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


def test_a_patch_size_that_does_not_divide_is_refused() -> None:
    with pytest.raises(ValueError, match="not a multiple of 15"):
        Frame.fit(3, 4, resolution=64).token_mask(patch_size=15)


def test_a_frame_that_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="below 1 pixel"):
        Frame(3, 4, 64, 0, 64)
    with pytest.raises(ValueError, match="leaves the model's input"):
        Frame(3, 4, 64, 48, 65)


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs a file that opens unread")
def test_a_file_that_opens_and_cannot_be_read_is_closed() -> None:
    """Pillow would leave it open, which is a warning here, and an error of this test."""
    with pytest.raises(ImageError, match="/proc/self/mem"):
        load_image("/proc/self/mem")
    gc.collect()
