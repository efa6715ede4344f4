"""MobileSAM's weights in our model against MobileSAM's own package, every parameter drawn."""

from __future__ import annotations

import copy
import importlib
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from samclip_sdk.errors import BundleError
from samclip_sdk.modeling.build import SamClipModel, build_model
from samclip_sdk.modeling.checkpoint import load_sam
from samclip_sdk.modeling.config import TINY_VIT
from samclip_sdk.modeling.tiny_vit_encoder import TinyViTEncoder
from tests.parity.reference import random_image, randomize, relative_error

BOUND = 1e-4
SIDE_PX = 1024  # its own, and the only one that it takes


def import_mobile_sam() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it imports, and registers, under timm's old names
        return importlib.import_module("mobile_sam")


@pytest.fixture(scope="module")
def mobile_sam() -> Any:
    """MobileSAM with every parameter and statistic drawn at random."""
    sam = import_mobile_sam().sam_model_registry["vit_t"]().eval()
    randomize(sam, seed=1)
    with torch.no_grad():
        for module in sam.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_var.uniform_(0.5, 1.5)
    sam.train().eval()  # it keeps a copy of its position biases from when it was last in eval mode
    return sam


@pytest.fixture(scope="module")
def model(mobile_sam: Any) -> SamClipModel:
    model = build_model(TINY_VIT)
    load_sam(model, mobile_sam.state_dict())
    return model


@pytest.fixture(scope="module")
def image() -> Tensor:
    return random_image(SIDE_PX, seed=3)


@pytest.fixture(scope="module")
def expected(mobile_sam: Any, image: Tensor) -> tuple[Tensor, Tensor]:
    """Its tokens before the neck, and its embeddings."""
    tokens: list[Tensor] = []
    hook = mobile_sam.image_encoder.neck.register_forward_pre_hook(
        lambda _, inputs: tokens.append(inputs[0])
    )
    with torch.inference_mode():
        embeddings = mobile_sam.image_encoder(mobile_sam.preprocess(image.float()))
    hook.remove()
    return tokens[0], embeddings


@torch.inference_mode()
def error(encoder: TinyViTEncoder, image: Tensor, expected: tuple[Tensor, Tensor]) -> float:
    return max(relative_error(a, e) for a, e in zip(encoder(image), expected, strict=True))


@pytest.mark.slow
def test_the_encoder(model: SamClipModel, image: Tensor, expected: tuple[Tensor, Tensor]) -> None:
    assert isinstance(model.image_encoder, TinyViTEncoder)
    assert expected[0].shape == (1, 320, 64, 64)
    assert error(model.image_encoder, image, expected) < BOUND
    assert error(model.image_encoder.at_resolution(SIDE_PX), image, expected) < BOUND


def mirror_biases(encoder: TinyViTEncoder) -> None:
    biases = encoder.layers[2].blocks[0].attn.attention_biases.data
    biases[:] = biases.flip(1)


def forget_the_padding(encoder: TinyViTEncoder) -> None:
    encoder.layers[1].blocks[0].attn.norm.bias.data.zero_()


@pytest.mark.slow
@pytest.mark.parametrize("fault", [mirror_biases, forget_the_padding])
def test_faults_are_seen(
    model: SamClipModel,
    image: Tensor,
    expected: tuple[Tensor, Tensor],
    fault: Callable[[TinyViTEncoder], None],
) -> None:
    faulty = copy.deepcopy(model.image_encoder)
    fault(faulty)
    assert error(faulty, image, expected) > 3 * BOUND


def test_a_checkpoint_of_another_encoder_is_refused() -> None:
    model = build_model(TINY_VIT)
    state = {
        name: tensor for name, tensor in model.state_dict().items() if name.startswith("image_enc")
    }
    state["image_encoder.blocks.0.norm1.weight"] = torch.zeros(768)
    with pytest.raises(BundleError, match=r"does not fit the config samclip-tiny-vit: .*missing"):
        load_sam(model, state)
