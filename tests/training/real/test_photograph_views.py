"""A view shows colours, masks and boxes of the same part of an image, at the same place."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from samclip_sdk.bundle.manifest import PAD_COLOUR
from samclip_sdk.image.frame import letterbox
from training.real.photograph_views import (
    draw_view,
    part_view,
    recolour,
    render,
    whole_view,
)
from training.real.records import BrokenRecord

HEIGHT, WIDTH, SIZE = 60, 100, 64


def write(path: Path, pixels: np.ndarray, kind: str = "png", **more: object) -> Path:
    Image.fromarray(pixels).save(path, kind, **more)
    return path


@pytest.fixture
def noise() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)


def test_the_whole_view_is_what_the_sdk_sees(tmp_path: Path, noise: np.ndarray) -> None:
    path = write(tmp_path / "a.png", noise)
    view = whole_view(HEIGHT, WIDTH, resolution=SIZE)
    image = render(path, view, size=(HEIGHT, WIDTH))
    expected, frame = letterbox(noise, resolution=SIZE, pad_colour=PAD_COLOUR)
    np.testing.assert_array_equal(image, expected[0].transpose(1, 2, 0))
    assert view.frame == frame
    assert view.token_mask().tolist() == [[1.0] * 4] * 3 + [[0.0] * 4]


@given(st.integers(0, 2**32 - 1))
def test_colours_and_masks_go_the_same_way(seed: int) -> None:
    """An image that is its own mask: where the view's mask is, the view is white."""
    rng = np.random.default_rng(seed)
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[10:40, 30:80] = True
    view = draw_view(HEIGHT, WIDTH, rng, resolution=SIZE)
    left, top, right, bottom = view.box
    assert 0 <= left < right <= WIDTH
    assert 0 <= top < bottom <= HEIGHT
    if view.box != (0, 0, WIDTH, HEIGHT):
        assert 0.7 <= (right - left) / (bottom - top) <= 1.4
        assert (right - left) * (bottom - top) >= 0.38 * HEIGHT * WIDTH
    file = io.BytesIO()
    Image.fromarray(np.repeat(mask[..., None], 3, axis=2).astype(np.uint8) * 255).save(file, "png")
    image = render(file, view, size=(HEIGHT, WIDTH))
    seen = view.mask(mask)
    assert (image[seen] >= 120).mean() > 0.97
    rest = ~seen
    rest[view.frame.resized_height_px :] = rest[:, view.frame.resized_width_px :] = False
    assert not rest.any() or (image[rest] <= 135).mean() > 0.97
    np.testing.assert_array_equal(view.boxed(np.array([30, 10, 80, 40])), seen)
    assert not seen[view.frame.resized_height_px :].any()
    area = view.visible_px(np.array([30, 10, 80, 40]))
    assert abs(area - seen.sum()) <= 0.1 * area + 2 * SIZE


def test_a_flip_changes_left_and_right_inside_the_frame(tmp_path: Path, noise: np.ndarray) -> None:
    path = write(tmp_path / "a.png", noise)
    straight = part_view((10, 5, 60, 55), resolution=SIZE)
    flipped = part_view((10, 5, 60, 55), resolution=SIZE, flipped=True)
    one, other = (render(path, view, size=(HEIGHT, WIDTH)) for view in (straight, flipped))
    np.testing.assert_array_equal(one[:, ::-1], other)
    mask = noise[..., 0] > 128
    np.testing.assert_array_equal(straight.mask(mask)[:, ::-1], flipped.mask(mask))
    tall = part_view((10, 5, 40, 55), resolution=SIZE, flipped=True)
    image = render(path, tall, size=(HEIGHT, WIDTH))
    assert (image[:, 40:] == PAD_COLOUR).all()


def test_large_jpegs_are_decoded_small_and_land_at_the_same_place(tmp_path: Path) -> None:
    pixels = np.zeros((600, 1000, 3), np.uint8)
    pixels[200:400, 500:800] = 255
    path = write(tmp_path / "a.jpg", pixels, "jpeg", quality=95)
    view = whole_view(600, 1000, resolution=SIZE)
    image = render(path, view, size=(600, 1000))
    expected, _ = letterbox(pixels, resolution=SIZE, pad_colour=PAD_COLOUR)
    assert np.abs(image.astype(int) - expected[0].transpose(1, 2, 0)).max() < 40
    assert np.abs(image.astype(int) - expected[0].transpose(1, 2, 0)).mean() < 1


def test_images_are_turned_upright(tmp_path: Path, noise: np.ndarray) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the file lies on its side
    path = write(tmp_path / "a.png", noise, exif=exif)
    view = whole_view(WIDTH, HEIGHT, resolution=SIZE)
    image = render(path, view, size=(WIDTH, HEIGHT))
    upright = np.ascontiguousarray(np.rot90(noise, -1))
    expected, _ = letterbox(upright, resolution=SIZE, pad_colour=PAD_COLOUR)
    np.testing.assert_array_equal(image, expected[0].transpose(1, 2, 0))


def test_grey_images_have_three_channels(tmp_path: Path, noise: np.ndarray) -> None:
    path = write(tmp_path / "a.jpg", noise[..., 0], "jpeg")
    image = render(path, whole_view(HEIGHT, WIDTH, resolution=SIZE), size=(HEIGHT, WIDTH))
    assert (image[:38] == image[:38, :, :1]).all()


def test_broken_images_say_why(tmp_path: Path, noise: np.ndarray) -> None:
    view = whole_view(HEIGHT, WIDTH, resolution=SIZE)
    path = write(tmp_path / "a.png", noise)
    with pytest.raises(BrokenRecord, match=r"a.png has 100 x 60 pixels, not 90 x 60") as caught:
        render(path, view, size=(60, 90))
    assert caught.value.kind == "image"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(BrokenRecord, match=r"image: a.png") as caught:
        render(path, view, size=(HEIGHT, WIDTH))
    path.unlink()
    with pytest.raises(BrokenRecord) as caught:
        render(path, view, size=(HEIGHT, WIDTH))
    assert caught.value.kind == "record"


def test_colours_change_a_little_and_the_padding_not_at_all() -> None:
    view = whole_view(HEIGHT, WIDTH, resolution=SIZE)
    changes = []
    for seed in range(200):
        image = np.full((SIZE, SIZE, 3), 128, np.uint8)
        recolour(image, view, np.random.default_rng(seed))
        assert (image[38:] == 128).all()
        changes.append(image[0, 0].astype(int) - 128)
    assert np.abs(changes).max() <= 128 * 0.2 + 2
    assert np.std(changes) > 5
