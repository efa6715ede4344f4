"""A checkpoint of before goes on as a model of its preset's sizes."""

from __future__ import annotations

import pytest
import torch

from samclip_sdk.modeling.build import SamClipModel, build_model
from samclip_sdk.modeling.config import ClassifierHeadConfig, ModelConfig
from tests.student import PYRAMID_STUDENT
from training.resizing import narrowed, resized


def with_blocks(config: ModelConfig, count: int) -> ModelConfig:
    decoder = config.mask_decoder.model_copy(update={"local_blocks": count})
    return config.model_copy(update={"mask_decoder": decoder})


def masks_of(model: SamClipModel) -> torch.Tensor:
    image = torch.randint(256, (1, 3, 64, 64), generator=torch.Generator().manual_seed(0))
    _, embeddings = model.image_encoder(image)
    points = torch.tensor([[[20.0, 30.0]]]), torch.tensor([[1]], dtype=torch.int32)
    nothing = torch.zeros(1, 1, 16, 16), torch.zeros(1)
    masks: torch.Tensor = model.mask_decoder(embeddings, *model.prompt_encoder(*points, *nothing))[
        0
    ]
    return masks


def test_a_student_with_local_blocks_answers_as_before(student_config: ModelConfig) -> None:
    student = build_model(student_config, seed=3).eval()
    preset = with_blocks(student_config, 2)
    larger = resized(student, preset)
    assert larger.config == preset
    assert len(larger.mask_decoder.local_blocks) == 2
    with torch.inference_mode():
        torch.testing.assert_close(masks_of(larger), masks_of(student))
    again = resized(student, preset)
    for name, tensor in larger.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name


def test_of_too_many_local_blocks_the_last_stay(student_config: ModelConfig) -> None:
    student = build_model(with_blocks(student_config, 3), seed=3).eval()
    for block in list(student.mask_decoder.local_blocks)[1:]:
        torch.nn.init.normal_(block.lin2.weight)
    preset = with_blocks(student_config, 2)
    smaller = resized(student, preset)
    assert smaller.config == preset
    with torch.inference_mode():  # the first was no change
        torch.testing.assert_close(masks_of(smaller), masks_of(student))


@pytest.mark.parametrize("blocks", [0, 1])
def test_another_model_is_left_as_it_is(student_config: ModelConfig, blocks: int) -> None:
    student = build_model(with_blocks(student_config, blocks), seed=3)
    assert resized(student, student.config) is student
    other = student_config.model_copy(update={"name": "other"})
    assert resized(student, with_blocks(other, 2)) is student


def with_mlps(config: ModelConfig, width: int) -> ModelConfig:
    head = config.clip_head
    assert isinstance(head, ClassifierHeadConfig)
    return config.model_copy(update={"clip_head": head.model_copy(update={"mlp_dim": width})})


def patches_of(model: SamClipModel) -> torch.Tensor:
    image = torch.randint(256, (1, 3, 64, 64), generator=torch.Generator().manual_seed(0))
    tokens, _ = model.image_encoder(image)
    patches: torch.Tensor = model.clip_head(tokens, torch.ones(1, 4, 4))[0]
    return patches


def test_mlps_lose_the_units_that_add_least() -> None:
    student = build_model(PYRAMID_STUDENT, seed=3).eval()
    torch.nn.init.normal_(student.clip_head.cells.outward.weight)
    silent = torch.arange(32) % 4 > 0  # three units of four
    for block in student.clip_head.cells.blocks:
        with torch.no_grad():
            block.mlp[2].weight[:, silent] = 0
    preset = with_mlps(PYRAMID_STUDENT, 8)
    narrow = resized(student, preset)
    assert narrow.config == preset
    assert narrow.clip_head.cells.blocks[1].mlp[0].weight.shape == (8, 16, 1, 1)
    with torch.inference_mode():
        torch.testing.assert_close(patches_of(narrow), patches_of(student))
    assert resized(narrow, preset) is narrow


def test_mlps_never_become_wider() -> None:
    student = build_model(with_mlps(PYRAMID_STUDENT, 8), seed=3)
    assert resized(student, PYRAMID_STUDENT) is student


def test_a_state_that_fits_is_left_as_it_is() -> None:
    head = build_model(PYRAMID_STUDENT, seed=3).clip_head
    state = head.state_dict()
    assert all(torch.equal(x, state[name]) for name, x in narrowed(state, head).items())
