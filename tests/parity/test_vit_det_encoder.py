"""The image encoder against segment_anything's, at its own and at other resolutions."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from segment_anything.modeling import Sam
from torch import Tensor, nn
from torch.nn import functional as F

from samclip_sdk.modeling.build import SamClipModel
from samclip_sdk.modeling.config import VIT_B, ModelConfig
from samclip_sdk.modeling.vit_det_encoder import ViTDetEncoder
from tests.parity.reference import (
    build_clip,
    build_sam,
    convert,
    encode_image,
    random_image,
    relative_error,
    small_config,
)

BOUND = 1e-4
SMALL = small_config(image_size_px=512)


def pair(config: ModelConfig) -> tuple[Sam, SamClipModel]:
    sam = build_sam(config, seed=1)
    return sam, convert(config, sam=sam, clip=build_clip(config, seed=2))


@pytest.fixture(scope="module")
def small() -> tuple[Sam, SamClipModel]:
    return pair(SMALL)


@torch.no_grad()
def error(encoder: ViTDetEncoder, expected: tuple[Tensor, Tensor], image: Tensor) -> float:
    """The larger error of tokens and embeddings."""
    return max(relative_error(a, e) for a, e in zip(encoder(image), expected, strict=True))


@pytest.mark.parametrize("resolution", [512, 448, 336, 224])
def test_small_encoder(small: tuple[Sam, SamClipModel], resolution: int) -> None:
    # 512 / 16 = 32, 28, 21 and 14 tokens: windows of 14 that pad, and windows that fit.
    sam, model = small
    image = random_image(resolution, seed=3)
    assert error(model.image_encoder, encode_image(sam, image), image) < BOUND


def test_a_batch_equals_its_images(small: tuple[Sam, SamClipModel]) -> None:
    sam, model = small
    images = torch.cat([random_image(336, seed=4), random_image(336, seed=5)])
    expected = [encode_image(sam, image[None]) for image in images]
    both = tuple(torch.cat(parts) for parts in zip(*expected, strict=True))
    assert error(model.image_encoder, both, images) < BOUND


@pytest.mark.slow
def test_vit_b() -> None:
    sam, model = pair(VIT_B)
    for resolution in (336, 448, 1024):
        image = random_image(resolution, seed=3)
        measured = error(model.image_encoder, encode_image(sam, image), image)
        assert measured < BOUND, f"{resolution} px: {measured:.1e}"


def swap_relative(encoder: ViTDetEncoder) -> None:
    attention = encoder.blocks[1].attn
    attention.rel_pos_h, attention.rel_pos_w = attention.rel_pos_w, attention.rel_pos_h


def swap_global_and_windowed(encoder: ViTDetEncoder) -> None:
    first, second = encoder.blocks[0].attn, encoder.blocks[1].attn
    first.window_size, second.window_size = 0, 14


def interpolate_bilinearly(encoder: ViTDetEncoder) -> None:
    table = encoder.pos_embed.permute(0, 3, 1, 2)
    table = F.interpolate(table, size=(21, 21), mode="bilinear")
    encoder.pos_embed = nn.Parameter(table.permute(0, 2, 3, 1))


@pytest.mark.parametrize("fault", [interpolate_bilinearly, swap_relative, swap_global_and_windowed])
@torch.no_grad()
def test_a_planted_fault_is_seen(
    small: tuple[Sam, SamClipModel], fault: Callable[[ViTDetEncoder], None]
) -> None:
    sam, model = small
    image = random_image(336, seed=3)
    faulty = copy.deepcopy(model.image_encoder)
    fault(faulty)
    assert error(faulty, encode_image(sam, image), image) > 10 * BOUND
