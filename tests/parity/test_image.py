"""Where images and points go in the model's input: as segment-anything and CLIP have it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from segment_anything.utils.transforms import ResizeLongestSide
from torchvision import transforms

from samclip_sdk.image.frame import Frame, center_crop, letterbox

SIDES = st.integers(1, 5000)
RESOLUTIONS = st.sampled_from([64, 128, 224, 256, 336, 448, 1024])


def sample_image(height: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@given(SIDES, SIDES, RESOLUTIONS)
def test_sizes_are_those_of_segment_anything(height: int, width: int, resolution: int) -> None:
    shape = ResizeLongestSide.get_preprocess_shape(height, width, resolution)
    frame = Frame.fit(height, width, resolution=resolution)
    assert (frame.resized_height_px, frame.resized_width_px) == tuple(max(1, s) for s in shape)


def test_coordinates_are_those_of_segment_anything() -> None:
    coords = np.array([[[410.0, 230.0], [0.0, 426.0]]])
    theirs = ResizeLongestSide(1024).apply_coords(coords, (427, 640))
    ours = Frame.fit(427, 640, resolution=1024).to_model(coords)
    np.testing.assert_array_equal(ours, theirs)
    assert ours[0, 0, 0] != ours[0, 0, 1]  # x and y have their own factors


@pytest.mark.parametrize("size", [(90, 131), (131, 90), (2001, 2003)])
def test_letterbox_is_segment_anythings_resize_and_padding(size: tuple[int, int]) -> None:
    image = sample_image(*size)  # the last is resized in threads
    square, frame = letterbox(image, resolution=64, pad_colour=(124, 116, 104))
    rows, columns = frame.resized_height_px, frame.resized_width_px
    assert square.shape == (1, 3, 64, 64)
    assert square.flags.c_contiguous
    theirs = ResizeLongestSide(64).apply_image(image)
    np.testing.assert_array_equal(square[0, :, :rows, :columns].transpose(1, 2, 0), theirs)
    assert (square[0, :, rows:] == np.array([124, 116, 104])[:, None, None]).all()
    assert (square[0, :, :, columns:] == np.array([124, 116, 104])[:, None, None]).all()


@pytest.mark.parametrize("size", [(90, 131), (131, 90), (64, 64), (33, 47), (500, 65)])
def test_center_crop_is_clips_preprocessing(size: tuple[int, int]) -> None:
    image = sample_image(*size) // 4 + 96  # so that bicubic never overshoots and clips
    theirs = transforms.Compose(
        [
            transforms.Resize(64, interpolation=transforms.InterpolationMode.BICUBIC),
            transforms.CenterCrop(64),
        ]
    )(Image.fromarray(image))
    difference = np.abs(
        center_crop(image, resolution=64)[0].transpose(1, 2, 0).astype(int) - np.array(theirs)
    )
    assert difference.max() <= 1
