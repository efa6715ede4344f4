"""From a non-square image and prompts in its pixels to logits in its pixels, against SamPredictor.

Preprocessing, prompt assembly and the way back are the SDK's own. One difference is by design:
SAM pads with zeros after normalising, we with the mean rounded to whole RGB values. The encoder is
random and its windows and attention spread those values, so the bound is that of the residue.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from segment_anything import SamPredictor
from segment_anything.modeling import Sam
from torch import Tensor

from samclip_sdk.bundle.manifest import PAD_COLOUR
from samclip_sdk.image.frame import Frame, letterbox
from samclip_sdk.image.image_prompts import image_prompts
from samclip_sdk.image.upscale import upscale_above
from samclip_sdk.modeling.build import SamClipModel
from samclip_sdk.modeling.config import MaskDecoderConfig
from tests.parity.reference import (
    build_clip,
    build_sam,
    convert,
    relative_error,
    small_config,
)

BOUND = 1e-4
RESIDUE_BOUND = 1e-2
RESOLUTION = 256
CONFIG = small_config(
    image_size_px=RESOLUTION,
    mask_decoder=MaskDecoderConfig(embed_dim=64, num_heads=4, mlp_dim=128, iou_head_hidden_dim=64),
)
SIZES = [(300, 451), (517, 260), (50, 71), (40, 640)]  # height, width


@pytest.fixture(scope="module")
def sam() -> Sam:
    return build_sam(CONFIG, seed=1)


@pytest.fixture(scope="module")
def model(sam: Sam) -> SamClipModel:
    return convert(CONFIG, sam=sam, clip=build_clip(CONFIG, seed=2))


def sample_image(height: int, width: int) -> NDArray[np.uint8]:
    """Waves of another period along each axis and in each channel, with noise on top."""
    y, x = np.mgrid[:height, :width].astype(np.float64)
    waves = [np.sin(x / (9 + 4 * c) + c) + np.cos(y / (6 + 5 * c)) for c in range(3)]
    noise = np.random.default_rng(height).normal(size=(height, width, 3))
    return np.clip(128 + 50 * np.stack(waves, axis=-1) + 10 * noise, 0, 255).astype(np.uint8)


def prompts_for(height: int, width: int) -> dict[str, dict[str, Any]]:
    points = np.array([[0.2, 0.7], [0.85, 0.1]]) * (width, height)
    box = np.array([0.1, 0.3, 0.6, 0.9]) * (width, height, width, height)
    return {
        "one point": {"points": points[:1], "labels": [1]},
        "points": {"points": points, "labels": [1, 0]},
        "box": {"boxes": box},
        "points and box": {"points": points, "labels": [0, 1], "boxes": box},
    }


def ask_sam(predictor: SamPredictor, prompt: dict[str, Any]) -> tuple[NDArray[Any], ...]:
    """Masks as logits [3,H,W] in the image, and low-res logits, for multimask_output."""
    masks, _, low_res = predictor.predict(
        point_coords=prompt.get("points"),
        point_labels=np.array(prompt["labels"]) if "points" in prompt else None,
        box=prompt.get("boxes"),
        multimask_output=True,
        return_logits=True,
    )
    return masks, low_res


@torch.no_grad()
def ask_ours(
    model: SamClipModel, prompt: dict[str, Any], *, features: Tensor, frame: Frame
) -> tuple[NDArray[Any], ...]:
    asked = image_prompts(
        prompt.get("points"), point_labels=prompt.get("labels"), boxes=prompt.get("boxes")
    ).in_model(frame, mask_side=RESOLUTION // 4)
    (feed,) = asked.batches(16)
    encoded = model.prompt_encoder(**{name: torch.tensor(value) for name, value in feed.items()})
    low_res, _ = model.mask_decoder(features, *encoded)
    three = low_res[0, 1:].numpy()
    # Every pixel exceeds minus infinity: the whole image.
    whole = [upscale_above(each, frame=frame, threshold=-np.inf)[1] for each in three]
    return np.stack(whole), three


def error(
    model: SamClipModel,
    sam: Sam,
    *,
    size: tuple[int, int],
    pad_colour: tuple[int, int, int] = PAD_COLOUR,
) -> float:
    """The largest error, over the prompts for an image (height, width), of both kinds of masks."""
    image = sample_image(*size)
    predictor = SamPredictor(sam)
    predictor.set_image(image)
    pixels, frame = letterbox(image, resolution=RESOLUTION, pad_colour=pad_colour)
    with torch.no_grad():
        _, features = model.image_encoder(torch.from_numpy(pixels))
    errors = [
        relative_error(a, e)
        for prompt in prompts_for(*size).values()
        for a, e in zip(
            ask_ours(model, prompt, features=features, frame=frame),
            ask_sam(predictor, prompt),
            strict=True,
        )
    ]
    return max(errors)


@pytest.mark.parametrize("size", SIZES)
def test_within_the_padding_residue(model: SamClipModel, sam: Sam, size: tuple[int, int]) -> None:
    assert error(model, sam, size=size) < RESIDUE_BOUND


def test_without_padding_nothing_is_left_of_the_residue(model: SamClipModel, sam: Sam) -> None:
    assert error(model, sam, size=(300, 300)) < BOUND


@pytest.mark.parametrize("pad_colour", [(0, 0, 0), (255, 255, 255), (104, 116, 124)])
def test_another_padding_is_seen(
    model: SamClipModel, sam: Sam, pad_colour: tuple[int, int, int]
) -> None:
    assert error(model, sam, size=SIZES[0], pad_colour=pad_colour) > 2 * RESIDUE_BOUND
