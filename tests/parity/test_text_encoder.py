"""The text encoder against open_clip's: a small one, both activations, and all of ViT-L-14's."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from samclip_sdk.errors import BundleError
from samclip_sdk.modeling.build import SamClipModel, build_model
from samclip_sdk.modeling.checkpoint import load_text_encoder
from samclip_sdk.modeling.clip_text_encoder import ClipTextEncoder
from samclip_sdk.modeling.config import ClipTextConfig
from tests.parity.reference import build_clip, relative_error, small_config

BOUND = 1e-5
START, END = 49406, 49407


def pair(text: ClipTextConfig, *, embed_dim: int) -> tuple[nn.Module, SamClipModel]:
    config = small_config(image_size_px=64).model_copy(
        update={"text_encoder": text, "embed_dim": embed_dim}
    )
    clip, model = build_clip(config, seed=1), build_model(config)
    load_text_encoder(model, clip)
    return clip, model


@pytest.fixture(scope="module", params=["gelu", "quick_gelu"])
def small(request: pytest.FixtureRequest) -> tuple[nn.Module, SamClipModel]:
    return pair(
        ClipTextConfig(
            width=96, embedding_width=96, num_heads=6, depth=3, activation=request.param
        ),
        embed_dim=80,
    )


def texts() -> Tensor:
    """Token ids int32 [4,77]: empty, short, long and cut off."""
    generator = torch.Generator().manual_seed(7)
    ids = torch.zeros(4, 77, dtype=torch.int32)
    for row, length in enumerate((0, 3, 40, 75)):
        words = torch.randint(0, START, (length,), generator=generator)
        ids[row, : length + 2] = torch.tensor([START, *words.tolist(), END])
    return ids


@torch.no_grad()
def error(encoder: ClipTextEncoder, clip: nn.Module, ids: Tensor) -> float:
    return relative_error(encoder(ids), clip.encode_text(ids, normalize=True))


def test_another_activation_is_refused() -> None:
    """Its weights would load, and every embedding be slightly wrong."""
    text = ClipTextConfig(width=64, embedding_width=64, num_heads=4, depth=1)
    config = small_config(image_size_px=64).model_copy(update={"text_encoder": text})
    quick = text.model_copy(update={"activation": "quick_gelu"})
    clip = build_clip(config.model_copy(update={"text_encoder": quick}), seed=1)
    with pytest.raises(BundleError, match="has QuickGELU, the config small GELU"):
        load_text_encoder(build_model(config), clip)


def test_small_encoder(small: tuple[nn.Module, SamClipModel]) -> None:
    clip, model = small
    assert error(model.text_encoder, clip, texts()) < BOUND


@pytest.mark.slow
def test_vit_l_14() -> None:
    clip, model = pair(ClipTextConfig(), embed_dim=768)
    assert error(model.text_encoder, clip, texts()) < BOUND


def roll_positions(encoder: Any) -> None:
    encoder.positional_embedding.copy_(encoder.positional_embedding.roll(1, dims=0))


def reverse_heads(encoder: Any) -> None:
    weight = encoder.blocks[1].out_proj.weight
    weight.copy_(weight.unflatten(1, (6, -1)).flip(1).flatten(1))


@pytest.mark.parametrize("fault", [roll_positions, reverse_heads])
@torch.no_grad()
def test_a_planted_fault_is_seen(
    small: tuple[nn.Module, SamClipModel], fault: Callable[[ClipTextEncoder], None]
) -> None:
    clip, model = small
    faulty = copy.deepcopy(model.text_encoder)
    fault(faulty)
    assert error(faulty, clip, texts()) > 10 * BOUND
