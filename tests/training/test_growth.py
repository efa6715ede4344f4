"""A checkpoint without local blocks goes on as a model with them, and answers as before."""

from __future__ import annotations

import pytest
import torch

from samclip_sdk.modeling.build import SamClipModel, build_model
from samclip_sdk.modeling.config import ModelConfig
from training.growth import grown


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


def test_a_grown_student_answers_as_before(student_config: ModelConfig) -> None:
    student = build_model(student_config, seed=3).eval()
    preset = with_blocks(student_config, 2)
    larger = grown(student, preset)
    assert larger.config == preset
    assert len(larger.mask_decoder.local_blocks) == 2
    with torch.inference_mode():
        torch.testing.assert_close(masks_of(larger), masks_of(student))
    again = grown(student, preset)
    for name, tensor in larger.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name


@pytest.mark.parametrize("blocks", [0, 1])
def test_another_model_is_left_as_it_is(student_config: ModelConfig, blocks: int) -> None:
    student = build_model(with_blocks(student_config, blocks), seed=3)
    assert grown(student, student.config) is student
    other = student_config.model_copy(update={"name": "other"})
    assert grown(student, with_blocks(other, 2)) is student
