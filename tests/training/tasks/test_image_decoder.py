"""Prompts of some images, decoded together: the same answers and gradients as one by one."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from samclip_sdk.modeling.build import SamClipModel, build_model
from tests.tiny_config import PYRAMID_STUDENT
from training.batches import PATCH_PX
from training.tasks.image_decoder import ImageDecoder, in_row_order, in_token_order
from training.tasks.label_prompts import LabelPrompts

GRID, SIDE = 8, 32
OWNERS = torch.tensor([0, 0, 2, 2, 2])  # none asks for image 1
SOME, ALL, NONE = torch.tensor([1, 2]), torch.arange(5), torch.arange(0)


def student(*, high_resolution: bool) -> SamClipModel:
    config = PYRAMID_STUDENT.mask_decoder.model_copy(update={"high_resolution": high_resolution})
    model = build_model(PYRAMID_STUDENT.model_copy(update={"mask_decoder": config}), seed=1)
    torch.manual_seed(0)
    for part in (model.prompt_encoder, model.mask_decoder):
        for parameter in part.parameters():
            torch.nn.init.normal_(parameter, std=0.2)  # the local block and biases start as zero
    return model


def asked(masked: Tensor) -> LabelPrompts:
    labels = torch.tensor([[1, -2], [2, 3], [0, 1], [1, -1], [-2, -2]], dtype=torch.int32)
    return LabelPrompts(
        PATCH_PX * GRID * torch.rand(5, 2, 2), labels, 4 * torch.randn(len(masked), 1, SIDE, SIDE)
    )


def by_module(
    model: SamClipModel, embeddings: Tensor, prompts: LabelPrompts, masked: Tensor
) -> tuple[Tensor, Tensor]:
    """The answers of the modules' own forwards, each prompt with a copy of its image."""
    has_mask = torch.zeros(len(OWNERS)).index_fill(0, masked, 1)
    masks = torch.zeros(len(OWNERS), 1, SIDE, SIDE).index_copy(0, masked, prompts.mask_input)
    scale = model.prompt_encoder.resolution / (PATCH_PX * GRID)
    coords = (prompts.coords + 0.5) * scale - 0.5
    encoded = model.prompt_encoder(coords, prompts.labels, masks, has_mask)
    answers: tuple[Tensor, Tensor] = model.mask_decoder(embeddings[OWNERS], *encoded)
    return answers


def gradients(model: SamClipModel, embeddings: Tensor, masks: Tensor, iou: Tensor) -> list[Tensor]:
    """Of a loss that weighs each pixel, in rows, and each IoU differently."""
    parts = (model.prompt_encoder, model.mask_decoder)
    learned = [embeddings, *(p for part in parts for p in part.parameters())]
    weights = torch.Generator().manual_seed(3)
    loss = (masks * torch.randn(masks.shape, generator=weights)).mean()
    loss = loss + (iou * torch.randn(iou.shape, generator=weights)).mean()
    found = torch.autograd.grad(loss, learned, allow_unused=True)
    return [torch.zeros(0) if x is None or not x.any() else x for x in found]


@pytest.mark.parametrize("masked", [SOME, ALL, NONE], ids=["some", "all", "none"])
@pytest.mark.parametrize("high_resolution", [False, True])
def test_answers_and_gradients_are_the_modules_own(high_resolution: bool, masked: Tensor) -> None:
    model = student(high_resolution=high_resolution)
    channels = 4 * 32 if high_resolution else 32
    embeddings = torch.randn(3, channels, GRID, GRID, requires_grad=True)
    prompts = asked(masked)
    theirs = by_module(model, embeddings, prompts, masked)
    masks, iou = ImageDecoder(model, embeddings)(OWNERS, prompts, masked)
    ours = in_row_order(masks.flatten(0, 1)).view_as(theirs[0]), iou
    found = [*ours, *gradients(model, embeddings, *ours)]
    expected = [*theirs, *gradients(model, embeddings, *theirs)]
    for mine, other in zip(found, expected, strict=True):
        largest = max(other.detach().abs().flatten().tolist(), default=0)
        torch.testing.assert_close(mine, other, rtol=0, atol=1e-9 + 2e-4 * largest)


def test_the_order_of_tokens_is_undone() -> None:
    masks = torch.arange(3 * SIDE * SIDE).view(3, SIDE, SIDE).float()
    found = in_token_order(masks)
    assert torch.equal(in_row_order(found), masks)
    assert set(found[0, :16].tolist()) == set(masks[0, :4, :4].flatten().tolist())
