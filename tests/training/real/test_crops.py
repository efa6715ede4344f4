from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as F

from training.real.crops import RATIO, SCALE, random_crop, random_crop_box


@pytest.mark.parametrize("size", [(256, 256), (300, 240), (240, 300)])
def test_crops_have_the_area_and_the_ratio_that_openclip_trains_with(
    size: tuple[int, int],
) -> None:
    rng = np.random.default_rng(0)
    boxes = np.array([random_crop_box(*size, rng=rng) for _ in range(300)])
    width, height = (boxes[:, 2:] - boxes[:, :2]).T
    assert (boxes >= 0).all()
    assert (boxes[:, 2:] <= size[::-1]).all()
    area = width * height / (size[0] * size[1])
    assert (area >= SCALE[0] - 0.01).all()
    assert (area <= SCALE[1]).all()
    assert (width / height >= RATIO[0] - 0.02).all()
    assert (width / height <= RATIO[1] + 0.02).all()
    assert len(np.unique(boxes, axis=0)) > 20


@pytest.mark.parametrize(
    ("size", "box"),
    # Even 2:3 is too long: no crop of nine tenths of it is within the ratio.
    [
        ((200, 300), (16, 0, 283, 200)),
        ((100, 1000), (433, 0, 566, 100)),
        ((1000, 100), (0, 433, 100, 566)),
        ((1, 2), (0, 0, 1, 1)),
    ],
)
def test_a_long_image_is_cropped_in_the_middle(
    size: tuple[int, int], box: tuple[int, int, int, int]
) -> None:
    assert random_crop_box(*size, rng=np.random.default_rng(0)) == box


@pytest.mark.parametrize("resolution", [32, 96])
def test_pixels_are_those_of_torchvision(resolution: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (60, 71, 3), np.uint8)
    left, top, right, bottom = random_crop_box(60, 71, rng=np.random.default_rng(5))
    expected = F.resized_crop(
        Image.fromarray(image),
        top,
        left,
        bottom - top,
        right - left,
        [resolution, resolution],
        InterpolationMode.BICUBIC,
    )
    crop = random_crop(image, np.random.default_rng(5), resolution=resolution)
    assert crop.flags.c_contiguous
    assert torch.equal(torch.from_numpy(crop), F.pil_to_tensor(expected))
